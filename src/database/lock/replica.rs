//! Who this replica is to others.

/// What other replicas see in `pg_stat_activity`; Postgres cuts it at 63 bytes.
pub(super) fn application_name() -> String {
    format!("portero migrate {}", host_name())
        .trim_end()
        .to_owned()
}

/// In a container its id, or the pod's name (`uname(2)`).
pub(super) fn host_name() -> String {
    nix::sys::utsname::uname()
        .map(|names| names.nodename().to_string_lossy().into_owned())
        .unwrap_or_default()
}
