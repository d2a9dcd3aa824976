//! Capabilities by name, as `--keep-cap` takes them (`capabilities(7)`).
//!
//! The crate `caps` has these names, too: for 45 lines less it makes the binary 20 kB larger, and its sets, which hold
//! what it has a name for, would leave a newer kernel's capabilities in the bounding set.

use std::fmt;

use crate::wording::shown;

/// In the kernel's order: the number is the bit (`include/uapi/linux/capability.h`).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A set of capabilities, bit n for capability n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySet(pub u64);

impl CapabilitySet {
    /// Adds the capability of this name, in either case, with or without `CAP_`.
    ///
    /// # Errors
    /// A name that no capability has.
    pub fn add(&mut self, name: &str) -> Result<(), String> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let number = NAMES.iter().position(|known| *known == bare);
        let number = number.ok_or_else(|| {
            format!(
                "{} is not a capability, e.g. net_bind_service (capabilities(7) lists them)",
                shown(name)
            )
        })?;
        self.0 |= 1 << number;
        Ok(())
    }

    /// Whether it holds none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in this set and not in the other.
    #[must_use]
    pub fn without(self, other: u64) -> Self {
        Self(self.0 & !other)
    }

    /// The numbers, in order.
    pub fn numbers(self) -> impl Iterator<Item = u32> {
        (0..64).filter(move |number| self.0 & 1 << number != 0)
    }
}

/// `CHOWN, NET_RAW`: the names as container tools spell them (`--cap-add`).
impl fmt::Display for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, number) in self.numbers().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            match usize::try_from(number).ok().and_then(|at| NAMES.get(at)) {
                Some(name) => write!(f, "{separator}{name}")?,
                None => write!(f, "{separator}{number}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> Result<CapabilitySet, String> {
        let mut set = CapabilitySet::default();
        names.iter().try_for_each(|name| set.add(name))?;
        Ok(set)
    }

    #[test]
    fn every_capability_has_its_number_under_each_of_its_spellings() {
        for (number, name) in NAMES.iter().enumerate() {
            let expected = Ok(CapabilitySet(1 << number));
            for spelling in [
                (*name).to_owned(),
                name.to_ascii_lowercase(),
                format!("CAP_{name}"),
                format!("cap_{}", name.to_ascii_lowercase()),
            ] {
                assert_eq!(set(&[&spelling]), expected, "{spelling}");
            }
        }
        // The ones that everybody meets in CapEff of /proc/PID/status.
        assert_eq!(set(&["setuid"]), Ok(CapabilitySet(0x80)));
        assert_eq!(set(&["net_bind_service"]), Ok(CapabilitySet(0x400)));
        assert_eq!(
            set(&["bpf", "chown"]).unwrap().to_string(),
            "CHOWN, BPF",
            "the kernel's order"
        );
    }

    #[test]
    fn nothing_else_is_a_capability() {
        for name in [
            "",
            "CAP_",
            "all",
            "ALL",
            "10",
            "cap_10",
            "net_bind",
            "net_bind_service,chown",
            " chown",
            "-chown",
            "+chown",
            "CAP_CAP_CHOWN",
            "chown\n",
            "chöwn",
        ] {
            assert!(set(&[name]).is_err(), "{name:?}");
        }
    }
}
