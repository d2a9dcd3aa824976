//! The drop: stdio handed over, bounding set, groups, ids, capabilities, `no_new_privs`; then all of it read back.

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::stat::{FileStat, fstat};
use nix::unistd::{
    Gid, Uid, fchown, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid,
};

use super::user::Credentials;
use crate::sys::{self, Capabilities, CapabilityOperation, standard_stream};

/// What `--user` comes to for this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Already that user.
    Already,
    /// Root, so it can become the user.
    CanDrop,
    /// Somebody else, as under an arbitrary uid or `runAsUser`.
    SomebodyElse,
}

/// How this process stands to `credentials`.
pub fn standing(credentials: &Credentials) -> Standing {
    let (uid, gid) = (Uid::effective().as_raw(), Gid::effective().as_raw());
    if uid == credentials.uid && (gid == credentials.gid || uid != 0) {
        Standing::Already
    } else if uid == 0 {
        Standing::CanDrop
    } else {
        Standing::SomebodyElse
    }
}

/// Becomes the user, for good: this process and all that it will start.
///
/// # Errors
/// One line that says which step failed and what is missing. The process must not go on then.
pub fn drop_to(credentials: &Credentials, allow_new_privileges: bool) -> Result<(), String> {
    hand_over_stdio(credentials);
    let to_root = credentials.uid == 0;
    if !allow_new_privileges && !to_root {
        empty_bounding_set();
    }
    set_ids(credentials)?;
    if !to_root {
        clear_capabilities()?;
        if !allow_new_privileges {
            prctl::set_no_new_privs()
                .map_err(|errno| format!("can't set no_new_privs: {errno}"))?;
        }
    }
    // A change of uid makes /proc/self root's; the user's own COMMAND could not open /proc/1/fd/1 then.
    let _ = prctl::set_dumpable(true);
    verify(credentials, allow_new_privileges)
}

/// Gives stdout and stderr to the user, so that COMMAND can reopen /dev/stdout. What can't be given (a read-only or a
/// foreign file system) still works as it is.
fn hand_over_stdio(credentials: &Credentials) {
    let owner = Uid::from_raw(credentials.uid);
    for stream in [1, 2].map(standard_stream) {
        if fstat(stream).is_ok_and(|stat| !is_shared_device(&stat)) {
            let _ = fchown(stream, Some(owner), None);
        }
    }
}

/// /dev/null, zero, full and random (memory devices, major 1) belong to everybody.
fn is_shared_device(stat: &FileStat) -> bool {
    nix::sys::stat::SFlag::from_bits_truncate(stat.st_mode).contains(nix::sys::stat::SFlag::S_IFCHR)
        && nix::sys::stat::major(stat.st_rdev) == 1
}

/// Without `CAP_SETPCAP` it stays as it is; `no_new_privs` then keeps anything from being gained through it.
fn empty_bounding_set() {
    for capability in 0..64 {
        match sys::capability_operation(CapabilityOperation::ReadBounding, capability) {
            Ok(0) => {}
            // The kernel knows no further one.
            Err(_) => return,
            Ok(_) => {
                if let Err(error) =
                    sys::capability_operation(CapabilityOperation::DropBounding, capability)
                {
                    log::debug!(
                        "the bounding set stays as it is: {error} (it takes the capability SETPCAP)"
                    );
                    return;
                }
            }
        }
    }
}

/// Groups first: without uid 0 they can't be set any more.
fn set_ids(credentials: &Credentials) -> Result<(), String> {
    let (uid, gid) = (
        Uid::from_raw(credentials.uid),
        Gid::from_raw(credentials.gid),
    );
    let groups: Vec<Gid> = credentials
        .groups
        .iter()
        .map(|gid| Gid::from_raw(*gid))
        .collect();
    setgroups(&groups).map_err(|errno| id_error("the supplementary groups", "SETGID", errno))?;
    setresgid(gid, gid, gid).map_err(|errno| id_error(&format!("gid {gid}"), "SETGID", errno))?;
    setresuid(uid, uid, uid).map_err(|errno| id_error(&format!("uid {uid}"), "SETUID", errno))
}

fn id_error(what: &str, capability: &str, errno: Errno) -> String {
    let remedy = match errno {
        Errno::EPERM => format!(
            ": the container lacks the capability {capability} (--cap-add {capability}), or start it as that user"
        ),
        Errno::EINVAL => ": this user namespace does not map it".into(),
        _ => String::new(),
    };
    format!("can't set {what}: {}{remedy}", errno.desc())
}

fn clear_capabilities() -> Result<(), String> {
    sys::clear_ambient_capabilities();
    sys::set_capabilities(Capabilities::default())
        .map_err(|error| format!("can't clear the capabilities: {error}"))
}

/// Reads everything back: a drop that did not fully happen is fatal.
fn verify(credentials: &Credentials, allow_new_privileges: bool) -> Result<(), String> {
    let left = |what: &str| {
        Err(format!(
            "the drop to uid {} did not fully happen: {what}",
            credentials.uid
        ))
    };
    let uids = getresuid().map_err(|errno| errno.to_string())?;
    let gids = getresgid().map_err(|errno| errno.to_string())?;
    if [uids.real, uids.effective, uids.saved]
        .iter()
        .any(|uid| uid.as_raw() != credentials.uid)
    {
        return left("the user ids differ");
    }
    if [gids.real, gids.effective, gids.saved]
        .iter()
        .any(|gid| gid.as_raw() != credentials.gid)
    {
        return left("the group ids differ");
    }
    let mut groups: Vec<u32> = getgroups()
        .map_err(|errno| errno.to_string())?
        .iter()
        .map(|gid| gid.as_raw())
        .collect();
    let mut wanted = credentials.groups.clone();
    groups.sort_unstable();
    wanted.sort_unstable();
    if groups != wanted {
        return left("the supplementary groups differ");
    }
    if credentials.uid == 0 {
        return Ok(());
    }
    if sys::capabilities().map_err(|error| error.to_string())? != Capabilities::default() {
        return left("capabilities are left");
    }
    if !allow_new_privileges && prctl::get_no_new_privs() != Ok(true) {
        return left("no_new_privs is not set");
    }
    Ok(())
}
