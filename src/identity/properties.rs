//! Properties of expansion and of the parsers of SPEC, /etc/passwd and /etc/group, on random and on nasty input.
//!
//! `PROPTEST_CASES=200000 cargo test properties` is the long form; 256 cases each otherwise.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::environment::Environment;
use crate::environment::expand::expand;
use crate::environment::words::{self, Piece};
use crate::identity::user::{Credentials, resolve};

const TEMPLATES: &str = "$ $$ { } ${ $${ $$${ :- :? : A EMPTY UNSET ${A} ${RAW} ${UNSET:- ${EMPTY:-x} ${A:? $A \
    `A` $(A)";

/// Bytes of every kind, with what means something to expansion among them again and again.
fn template() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..4),
        select(TEMPLATES.split(' ').collect::<Vec<_>>()).prop_map(|text| text.as_bytes().to_vec()),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Without the NUL that neither an argument nor a variable can hold.
fn c_bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(1u8..=255, 0..20)
}

fn environment(a: &[u8]) -> Environment {
    [
        ("A", OsStr::from_bytes(a)),
        ("EMPTY", OsStr::new("")),
        ("RAW", OsStr::from_bytes(b"\xff\xfe")),
    ]
    .into_iter()
    .collect()
}

fn expanded(text: &[u8], environment: &Environment) -> Result<Vec<u8>, String> {
    expand(OsStr::from_bytes(text), environment).map(|expanded| expanded.text.into_vec())
}

proptest! {
    #[test]
    fn expansion_never_panics_and_leaves_alone_what_has_no_reference(text in template(), a in c_bytes()) {
        let result = expanded(&text, &environment(&a));
        if !text.windows(2).any(|pair| pair == b"${") {
            prop_assert_eq!(result, Ok(text));
        }
    }

    #[test]
    fn what_has_no_dollar_comes_out_byte_for_byte(text in vec(any::<u8>(), 0..200)) {
        let text: Vec<u8> = text.into_iter().filter(|byte| *byte != b'$').collect();
        prop_assert_eq!(expanded(&text, &environment(b"x")), Ok(text));
    }

    #[test]
    fn a_value_is_put_in_as_it_is_and_never_looked_at_again(value in template(), before in c_bytes(), after in c_bytes()) {
        let value: Vec<u8> = value.into_iter().filter(|byte| *byte != 0).collect();
        let plain = |text: Vec<u8>| text.into_iter().filter(|byte| *byte != b'$').collect::<Vec<_>>();
        let (before, after) = (plain(before), plain(after));
        let text = [before.as_slice(), b"${A}", &after].concat();
        let expected = [before.as_slice(), &value, &after].concat();
        prop_assert_eq!(expanded(&text, &environment(&value)), Ok(expected));
        // A default likewise, which holds no brace.
        let default: Vec<u8> = value.into_iter().filter(|byte| !b"{}".contains(byte)).collect();
        let text = [b"${UNSET:-".as_slice(), &default, b"}"].concat();
        prop_assert_eq!(expanded(&text, &environment(b"x")), Ok(default));
    }

    #[test]
    fn a_doubled_dollar_gives_back_any_text(text in template()) {
        let mut doubled = Vec::new();
        for (index, byte) in text.iter().enumerate() {
            if *byte == b'$' && text.get(index + 1) == Some(&b'{') {
                doubled.push(b'$');
            }
            doubled.push(*byte);
        }
        prop_assert_eq!(expanded(&doubled, &environment(b"x")), Ok(text));
    }

    #[test]
    fn words_are_split_without_a_panic_and_quoted_ones_come_back(text in template(), plain in vec(c_bytes(), 1..5)) {
        for line in words::lines(&text) {
            let _ = words::command(line, true);
        }
        let quoted: Vec<Vec<u8>> = plain
            .iter()
            .map(|word| {
                let inner: Vec<&[u8]> = word.split(|byte| *byte == b'\'').collect();
                [b"'".as_slice(), &inner.join(b"'\\''".as_slice()), b"'"].concat()
            })
            .collect();
        let line = quoted.join(&b' ');
        prop_assert_eq!(words::lines(&line), vec![line.as_slice()]);
        let command = words::command(&line, true).unwrap().remove(0);
        let pieces = command.into_iter().map(|word| word.pieces).collect::<Vec<_>>();
        let expected = plain.into_iter().map(|word| vec![Piece::Literal(word)]).collect::<Vec<_>>();
        prop_assert_eq!(pieces, expected);
    }
}

/// Users and groups of every kind, two of them with the ids of root.
const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:\nstaff:x:50:0::/:\ntoor:x:0:0::/:\n\
    7:x:0:0::/:\nlast:x:8:9::/";
const GROUP: &[u8] = b"root:x:0:app\nwheel:x:0:\napp:x:1001:\n9:x:0:\n";

const ODD_SPECS: &str = "| |0|00|root|ROOT|toor|staff|wheel|app|7|9|1000|-1|+0|\n|\
    4294967296|4294967295|18446744073709551616|\
    0x0|٠|0\u{301}|last|nobody";

/// What looks like a SPEC, or nearly.
fn spec() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>(),
        any::<u64>().prop_map(|id| id.to_string()),
        any::<i32>().prop_map(|id| id.to_string()),
        select(ODD_SPECS.split('|').collect::<Vec<_>>()).prop_map(str::to_owned),
    ];
    let user = (piece.clone(), piece.clone(), any::<bool>())
        .prop_map(|(one, two, both)| if both { one + &two } else { one });
    (user, piece, 0..3u8).prop_map(|(user, group, colons)| match colons {
        0 => user,
        1 => format!("{user}:{group}"),
        _ => format!("{user}:{group}:{group}"),
    })
}

fn is_root_by_spelling(text: &str) -> bool {
    matches!(text, "root" | "0")
}

proptest! {
    #[test]
    fn root_is_reached_by_its_name_and_its_number_alone(spec in spec()) {
        if let Ok(Credentials { uid, gid, .. }) = resolve(&spec, PASSWD, GROUP) {
            let (user, group) = spec.split_once(':').map_or((&*spec, None), |(user, group)| (user, Some(group)));
            prop_assert!(uid != 0 || is_root_by_spelling(user), "{:?} is uid 0", spec);
            // `staff` has the group 0 by its entry.
            let by_entry = group.is_none() && (is_root_by_spelling(user) || matches!(user, "staff" | "50"));
            let by_group = group.is_some_and(is_root_by_spelling);
            prop_assert!(gid != 0 || by_entry || by_group, "{:?} is gid 0", spec);
        }
    }

    #[test]
    fn an_id_is_what_it_says(uid in 1..=u64::from(u32::MAX) * 2, gid in 1..=u64::from(u32::MAX) * 2) {
        let in_range = uid <= 0x7fff_ffff && gid <= 0x7fff_ffff;
        let found = resolve(&format!("{uid}:{gid}"), b"", b"");
        prop_assert_eq!(found.is_ok(), in_range);
        if let Ok(found) = found {
            prop_assert_eq!((u64::from(found.uid), u64::from(found.gid)), (uid, gid));
        }
    }
}

const ODD_LINES: &str = "root:x:0:0::/root:/bin/sh|root:x:5:5::/:|app:x:1000:1000::/:|app:x:0:0::/:|1000:x:0:0::/:|\
    0:x:77:77::/:|app:x:1000:|app:x:0:app|\
    root:x:0:app,app|#app:x:0:0::/:|+app:x:0:0::/:|+::::::|-app|:x:0:0::/:|app:x::::|\
    app:x:00:00::/:|app:x:-0:+0::/:|app:x: 0:0 ::/:|app:x:0||\
    app:x:4294967296:4294967296::/:|\
    app:x:4294967295:1::/:|app:x:0:0:::::::|app\0:x:0:0::/:|\u{feff}app:x:0:0::/:";

/// A file as an image may have it: entries, broken entries, comments, NIS lines, doubles, ends of lines of every kind.
fn accounts() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        vec(any::<u8>(), 0..30),
        select(ODD_LINES.split('|').collect::<Vec<_>>()).prop_map(|line| line.as_bytes().to_vec()),
    ];
    let end = select(vec![b"\n".as_slice(), b"\r\n", b"\n\n", b"\r", b""]);
    vec((line, end), 0..12).prop_map(|lines| {
        lines
            .into_iter()
            .flat_map(|(line, end)| [line, end.to_vec()].concat())
            .collect()
    })
}

proptest! {
    #[test]
    fn whatever_the_files_hold_nobody_else_becomes_root(
        spec in prop_oneof![spec(), select(vec!["app", "1000", "app:app", "1000:app", "app:1000"]).prop_map(str::to_owned)],
        passwd in accounts(),
        group in accounts(),
    ) {
        if let Ok(found) = resolve(&spec, &passwd, &group) {
            let user = spec.split(':').next().unwrap_or_default();
            prop_assert!(found.uid != 0 || is_root_by_spelling(user), "{:?} is uid 0", spec);
            prop_assert!(i32::try_from(found.uid).is_ok() && i32::try_from(found.gid).is_ok());
        }
    }

    #[test]
    fn an_entry_is_found_among_all_else(
        before in accounts(),
        after in accounts(),
        uid in 1..0x7fff_ffffu32,
        gid in 1..0x7fff_ffffu32,
        end in select(vec!["\n", "\r\n"]),
    ) {
        let entry = format!("{end}needle:x:{uid}:{gid}:N:/home/needle:/bin/sh{end}");
        let passwd = [before.as_slice(), entry.as_bytes(), &after].concat();
        let found = resolve("needle", &passwd, b"");
        prop_assert_eq!(found, Ok(Credentials {
            uid,
            gid,
            groups: vec![gid],
            name: Some(OsString::from("needle")),
            home: Some(OsString::from("/home/needle")),
        }));
    }
}

#[test]
fn a_huge_file_is_read_to_its_end_without_a_final_newline() {
    let mut passwd = Vec::new();
    let mut group = Vec::new();
    for number in 1..200_000 {
        passwd.extend_from_slice(format!("user{number}:x:{number}:{number}::/:\n").as_bytes());
        let member = if number % 1000 == 0 { "last" } else { "user1" };
        group.extend_from_slice(format!("group{number}:x:{number}:lasting,{member}\n").as_bytes());
    }
    passwd.extend_from_slice(b"last:x:300000:300001::/home/last:");
    let found = resolve("last", &passwd, &group).unwrap();
    assert_eq!(
        (found.uid, found.gid, found.groups.len()),
        (300_000, 300_001, 200)
    );
}
