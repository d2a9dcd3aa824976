//! What this build has: one that is smaller than the full one lacks Postgres, TLS or Redis, and says so by their names.

/// What a build may lack; Cargo.toml names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    Postgres,
    Tls,
    Redis,
}

/// Each with its name in Cargo.toml, as users call it, and whether this build has it.
const FEATURES: [(Feature, &str, &str, bool); 3] = [
    (
        Feature::Postgres,
        "postgres",
        "Postgres",
        cfg!(feature = "postgres"),
    ),
    (Feature::Tls, "tls", "TLS", cfg!(feature = "tls")),
    (Feature::Redis, "redis", "Redis", cfg!(feature = "redis")),
];

impl Feature {
    const fn row(self) -> (Self, &'static str, &'static str, bool) {
        FEATURES[self as usize]
    }

    pub const fn is_built(self) -> bool {
        self.row().3
    }

    /// # Errors
    /// That this build lacks it, and what to do.
    pub fn required(self) -> Result<(), String> {
        if self.is_built() {
            return Ok(());
        }
        Err(self.refusal())
    }

    /// What is said where this build lacks it.
    pub fn refusal(self) -> String {
        let (_, name, called, _) = self.row();
        format!("this build has no {called} (feature \"{name}\"): use the full build of portero")
    }
}

/// What this build has, as `--version` says it.
pub fn built() -> String {
    let built = FEATURES.iter().filter(|(.., is_built)| *is_built);
    let names: Vec<_> = built.map(|(_, name, ..)| *name).collect();
    if names.is_empty() {
        return "minimal".to_owned();
    }
    names.join(", ")
}
