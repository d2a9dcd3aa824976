//! `--secret`: a variable's value from the file that another one names, as the official images have it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use super::environment::Resolved;
use crate::exit::Failure;

/// Makes `name` the content of the file that `NAME_FILE` names, less one trailing newline, when that is set.
///
/// # Errors
/// 125; the line names the variable and the file, and never shows a value.
pub fn read(resolved: &mut Resolved, name: &str) -> Result<(), Failure> {
    let file_variable = format!("{name}_FILE");
    let Some(path) = resolved
        .environment
        .given(&file_variable)
        .map(OsStr::to_os_string)
    else {
        // Given as it is: then it is to be shown no more than one from a file.
        let given = resolved.environment.given(name).map(OsStr::to_os_string);
        resolved.secrets.extend(given);
        return Ok(());
    };
    if resolved.environment.given(name).is_some() {
        return Err(Failure::failed(format!(
            "{name} and {file_variable} are both set: which one counts? Remove one"
        )));
    }
    let mut value = read_at_most(Path::new(&path), MAX_SECRET + 2).map_err(|error| {
        let path = path.display();
        Failure::failed(format!(
            "can't read the secret {name} from {path} ({file_variable}): {error}"
        ))
    })?;
    if value.ends_with(b"\n") {
        value.pop();
        if value.ends_with(b"\r") {
            value.pop();
        }
    }
    if value.contains(&0) {
        return Err(Failure::failed(format!(
            "the secret {name} has a NUL byte, which no variable can hold"
        )));
    }
    if value.len() > MAX_SECRET {
        return Err(Failure::failed(format!(
            "the secret {name} is larger than the {MAX_SECRET} bytes that a variable can hold: hand the file itself to COMMAND"
        )));
    }
    let value = OsString::from_vec(value);
    resolved.environment.remove(&file_variable);
    resolved.environment.set(name, &value);
    resolved.set.push(name.into());
    resolved.secrets.push(value);
    Ok(())
}

/// A variable has at most 128 KiB (`execve(2)`, `MAX_ARG_STRLEN`), with some for its name.
const MAX_SECRET: usize = 128 * 1024 - 256;

/// The first `limit` bytes: a path that turns out to be /dev/zero must not take all memory.
fn read_at_most(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use crate::setup::environment::tests::resolve_with;

    #[test]
    fn a_secret_is_its_files_content_less_one_newline() {
        let file = std::env::temp_dir().join(format!("portero-secret-{}", std::process::id()));
        let path = file.to_str().unwrap();
        let table: [(&[u8], &[u8]); 5] = [
            (b"x", b"x"),
            (b"x\n", b"x"),
            (b"x\r\n", b"x"),
            (b"x\n\n", b"x\n"),
            (b"\xff", b"\xff"),
        ];
        for (content, value) in table {
            std::fs::write(&file, content).unwrap();
            let resolved =
                resolve_with(&["--secret", "KEY", "true"], &[("KEY_FILE", path)]).unwrap();
            assert_eq!(resolved.environment.get("KEY").unwrap().as_bytes(), value);
            assert_eq!(resolved.environment.get("KEY_FILE"), None);
        }
        std::fs::write(&file, b"hush\0").unwrap();
        let error = resolve_with(&["--secret", "KEY", "true"], &[("KEY_FILE", path)]).unwrap_err();
        assert!(
            error.message.contains("KEY") && !error.message.contains("hush"),
            "{error}"
        );
        assert!(
            resolve_with(
                &["--secret", "KEY", "true"],
                &[("KEY_FILE", path), ("KEY", "x")]
            )
            .is_err()
        );
        std::fs::remove_file(&file).unwrap();
        assert!(resolve_with(&["--secret", "KEY", "true"], &[("KEY_FILE", path)]).is_err());
        assert!(resolve_with(&["--secret", "KEY", "true"], &[]).is_ok());
    }
}
