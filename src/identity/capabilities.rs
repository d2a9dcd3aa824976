//! Capabilities by name, as `--keep-cap` takes them (`capabilities(7)`).

use std::fmt;
use std::str::FromStr;

use caps::{Capability, to_canonical};

use crate::wording::shown;

/// A set of capabilities, bit n for capability n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySet(pub u64);

impl CapabilitySet {
    /// Adds the capability of this name, in either case, with or without `CAP_`.
    ///
    /// # Errors
    /// A name that no capability has.
    pub fn add(&mut self, name: &str) -> Result<(), String> {
        let capability = Capability::from_str(&to_canonical(name)).map_err(|_| {
            format!(
                "{} is not a capability, e.g. net_bind_service (capabilities(7) lists them)",
                shown(name)
            )
        })?;
        self.0 |= capability.bitmask();
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
            let known = caps::all().into_iter();
            let mut known = known.filter(|known| u32::from(known.index()) == number);
            match known.next().map(|known| known.to_string()) {
                Some(name) => write!(f, "{separator}{}", name.trim_start_matches("CAP_"))?,
                // A newer kernel's.
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
        for known in caps::all() {
            let expected = Ok(CapabilitySet(1 << known.index()));
            let name = known.to_string();
            let bare = name.trim_start_matches("CAP_");
            for spelling in [
                name.clone(),
                bare.to_owned(),
                name.to_ascii_lowercase(),
                bare.to_ascii_lowercase(),
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
