//! The drop: stdio handed over, bounding set, groups, ids, capabilities, `no_new_privs`; then all of it read back.

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::stat::{FileStat, fstat};
use nix::unistd::{
    Gid, Uid, fchown, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid,
};

use crate::identity::capabilities::CapabilitySet;
use crate::identity::user::Credentials;
use crate::sys::capabilities::Capabilities;
use crate::sys::{capabilities, standard_stream};

/// The ids of this process, each three: real, effective, saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Of the user.
    pub uids: [u32; 3],
    /// Of the group.
    pub gids: [u32; 3],
}

impl Ids {
    /// Asks the kernel, and never takes a failure for an answer.
    ///
    /// # Errors
    /// One line.
    pub fn current() -> Result<Self, String> {
        let fail = |what: &str| format!("can't read the {what}");
        let uids =
            getresuid().map_err(|errno| format!("{}: {errno}", fail("user ids (getresuid)")))?;
        let gids =
            getresgid().map_err(|errno| format!("{}: {errno}", fail("group ids (getresgid)")))?;
        Ok(Self {
            uids: [uids.real, uids.effective, uids.saved].map(Uid::as_raw),
            gids: [gids.real, gids.effective, gids.saved].map(Gid::as_raw),
        })
    }

    /// Whether this process is root, or can become it again by one of its ids.
    pub fn has_root(&self) -> bool {
        self.uids.contains(&0)
    }
}

/// What `--user` comes to for this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Already that user, by all three ids.
    Already,
    /// That user, but with this group.
    InGroup(u32),
    /// Root by one of the ids at least, so it can become the user.
    CanDrop,
    /// Somebody else, with this uid, as under an arbitrary uid or `runAsUser`.
    SomebodyElse(u32),
}

/// How this process relates to `credentials`.
///
/// # Errors
/// One line: then nobody knows, and nothing may go on.
pub fn relation_to(credentials: &Credentials) -> Result<Relation, String> {
    let ids = Ids::current()?;
    let is_user = ids.uids == [credentials.uid; 3];
    let is_in_group = ids.gids == [credentials.gid; 3];
    Ok(match ids {
        _ if is_user && is_in_group => Relation::Already,
        ids if ids.has_root() => Relation::CanDrop,
        ids if is_user => Relation::InGroup(ids.gids[1]),
        ids => Relation::SomebodyElse(ids.uids[1]),
    })
}

/// Makes root by all three ids of who has it as one: what only root can do comes next, and the drop at last.
///
/// # Errors
/// One line that says which step failed.
pub fn become_root() -> Result<(), String> {
    let root = Uid::from_raw(0);
    if Ids::current()?.uids == [0; 3] {
        return Ok(());
    }
    setresuid(root, root, root).map_err(|errno| id_error("uid 0 for the drop", "SETUID", errno))
}

/// What the user has after the drop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    /// The capabilities that stay: permitted, effective, inheritable and ambient, so that COMMAND has them too.
    pub keep: CapabilitySet,
    /// Leave `no_new_privs` and the bounding set as they are.
    pub allow_new: bool,
}

/// Becomes the user, for good: this process and all that it will start. Root keeps what root has.
///
/// # Errors
/// One line that says which step failed and what is missing. The process must not go on then.
pub fn drop_to(credentials: &Credentials, privileges: Privileges) -> Result<(), String> {
    if credentials.uid == 0 {
        hand_over_stdio(credentials);
        set_ids(credentials)?;
        return verify_ids(credentials).map_err(|what| incomplete(credentials, &what));
    }
    let keep = privileges.keep;
    has_to_keep(keep)?;
    hand_over_stdio(credentials);
    let bounded = !privileges.allow_new && limit_bounding_set(keep);
    if !keep.is_empty() {
        // Without it a change of uid clears the permitted set (capabilities(7), "Effect of user ID changes").
        prctl::set_keepcaps(true).map_err(|errno| format!("can't keep {keep} (prctl): {errno}"))?;
    }
    set_ids(credentials)?;
    set_capabilities(keep)?;
    if !privileges.allow_new {
        prctl::set_no_new_privs()
            .map_err(|errno| format!("can't set no_new_privs (prctl): {errno}"))?;
    }
    // A change of uid makes /proc/self root's; the user's own COMMAND could not open /proc/1/fd/1 then.
    let _ = prctl::set_dumpable(true);
    verify_ids(credentials)
        .and_then(|()| verify_privileges(privileges, bounded))
        .map_err(|what| incomplete(credentials, &what))
}

/// Hands the capabilities on to COMMAND where nothing is dropped: root's COMMAND has them anyway, another user's when
/// the container gave them to that user.
///
/// # Errors
/// One line that says what is missing.
pub fn keep_without_drop(keep: CapabilitySet) -> Result<(), String> {
    if keep.is_empty() || Ids::current()?.uids[1] == 0 {
        return Ok(());
    }
    has_to_keep(keep)?;
    let held = held()?;
    let wider = Capabilities {
        inheritable: held.inheritable | keep.0,
        ..held
    };
    capabilities::set_capabilities(wider)
        .map_err(|error| format!("can't make {keep} inheritable: {error}"))?;
    raise_ambient(keep)
}

fn held() -> Result<Capabilities, String> {
    capabilities::capabilities()
        .map_err(|error| format!("can't read the capabilities (capget): {error}"))
}

fn has_to_keep(keep: CapabilitySet) -> Result<(), String> {
    let held = held()?;
    let missing = keep.without(held.permitted);
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "this process does not have {missing}: give it to the container (docker run --cap-add, Kubernetes' securityContext.capabilities.add)"
    ))
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

/// Takes all but `keep` out of the bounding set, and says whether it could. Without `CAP_SETPCAP` the set stays as it
/// is; `no_new_privs` then keeps anything from being gained through it.
fn limit_bounding_set(keep: CapabilitySet) -> bool {
    let limited = capabilities::bounding_set().and_then(|held| {
        let mut rest = CapabilitySet(held).without(keep.0).numbers();
        rest.try_for_each(capabilities::drop_bounding)
    });
    if let Err(error) = &limited {
        log::debug!("the bounding set stays as it is: {error} (it takes the capability SETPCAP)");
    }
    limited.is_ok()
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
        Errno::EPERM if setgroups_denied() => {
            ": this user namespace has one user only (/proc/self/setgroups says deny): give it a range of ids (/etc/subuid), or leave --user out".into()
        }
        Errno::EPERM => format!(
            ": the container lacks the capability {capability} (--cap-add {capability}), or start it as that user"
        ),
        Errno::EINVAL => {
            ": this user namespace does not map it (/proc/self/uid_map, gid_map): give it a range of ids (/etc/subuid), or another id".into()
        }
        _ => String::new(),
    };
    format!("can't set {what}: {}{remedy}", errno.desc())
}

/// A user namespace that was made without privileges, such as `unshare --map-root-user`: `user_namespaces(7)`.
fn setgroups_denied() -> bool {
    std::fs::read("/proc/self/setgroups").is_ok_and(|text| text.starts_with(b"deny"))
}

fn set_capabilities(keep: CapabilitySet) -> Result<(), String> {
    capabilities::clear_ambient()
        .map_err(|error| format!("can't empty the ambient capabilities: {error}"))?;
    let sets = Capabilities {
        effective: keep.0,
        permitted: keep.0,
        inheritable: keep.0,
    };
    capabilities::set_capabilities(sets)
        .map_err(|error| format!("can't set the capabilities (capset): {error}"))?;
    raise_ambient(keep)?;
    // It has done its work. `execve(2)` clears it, too.
    let _ = prctl::set_keepcaps(false);
    Ok(())
}

fn raise_ambient(keep: CapabilitySet) -> Result<(), String> {
    for capability in keep.numbers() {
        capabilities::raise_ambient(capability).map_err(|error| {
            let one = CapabilitySet(1 << capability);
            format!(
                "can't make {one} ambient: {error} (it takes Linux 4.3 and no securebit against it)"
            )
        })?;
    }
    Ok(())
}

/// A drop that did not fully happen is fatal.
fn incomplete(credentials: &Credentials, what: &str) -> String {
    let uid = credentials.uid;
    format!("the drop to uid {uid} did not fully happen: {what}")
}

/// Reads the ids back.
fn verify_ids(credentials: &Credentials) -> Result<(), String> {
    let ids = Ids::current()?;
    if ids.uids != [credentials.uid; 3] {
        return Err("the user ids differ".into());
    }
    if ids.gids != [credentials.gid; 3] {
        return Err("the group ids differ".into());
    }
    let groups =
        getgroups().map_err(|errno| format!("can't read the groups (getgroups): {errno}"))?;
    let mut groups: Vec<u32> = groups.iter().map(|gid| gid.as_raw()).collect();
    let mut wanted = credentials.groups.clone();
    groups.sort_unstable();
    wanted.sort_unstable();
    if groups != wanted {
        return Err("the supplementary groups differ".into());
    }
    Ok(())
}

/// Reads the capabilities and `no_new_privs` back. `bounded`: the bounding set was limited, too.
fn verify_privileges(privileges: Privileges, bounded: bool) -> Result<(), String> {
    let keep = privileges.keep.0;
    let held = held()?;
    let unread = |error| format!("can't read the capabilities (prctl): {error}");
    let ambient = capabilities::ambient_set().map_err(unread)?;
    let sets = [
        ("permitted", held.permitted),
        ("effective", held.effective),
        ("inheritable", held.inheritable),
        ("ambient", ambient),
    ];
    if let Some((name, set)) = sets.iter().find(|(_, set)| *set != keep) {
        return Err(format!(
            "the {name} capabilities are {set:#x}, not {keep:#x}"
        ));
    }
    if bounded && capabilities::bounding_set().map_err(unread)? & !keep != 0 {
        return Err("the bounding set has capabilities left".into());
    }
    if !privileges.allow_new && prctl::get_no_new_privs() != Ok(true) {
        return Err("no_new_privs is not set".into());
    }
    Ok(())
}
