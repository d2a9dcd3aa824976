//! `require_auth`: by which methods a server may ask who one is (PostgreSQL 16's manual, 34.1.2).

/// A set of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Methods(u8);

impl Methods {
    /// The server lets anybody in, or knows the client by other means.
    pub const NONE: Self = Self(1);
    /// The password in clear.
    pub const PASSWORD: Self = Self(2);
    pub const MD5: Self = Self(4);
    pub const SCRAM: Self = Self(8);
    pub const ALL: Self = Self(15);
    /// What portero does not have: `gss`, `sspi`, `oauth`.
    const OTHERS: Self = Self(0);

    pub fn contains(self, method: Self) -> bool {
        self.0 & method.0 == method.0
    }

    /// A list of methods, or of methods that won't do, each with a `!`.
    pub(super) fn parse(list: &str) -> Result<Self, String> {
        let negative = list.starts_with('!');
        let mut methods = Self(0);
        for item in list.split(',') {
            let name = match (item.strip_prefix('!'), negative) {
                (Some(name), true) => name,
                (None, false) => item,
                _ => {
                    return Err(
                        "require_auth takes methods, or methods with a ! each, not both".into(),
                    );
                }
            };
            let method = match name {
                "none" => Self::NONE,
                "password" => Self::PASSWORD,
                "md5" => Self::MD5,
                "scram-sha-256" => Self::SCRAM,
                "gss" | "sspi" | "oauth" => Self::OTHERS,
                _ => {
                    return Err(
                        "require_auth must be a list of password, md5, scram-sha-256, none, gss, sspi, oauth".into(),
                    );
                }
            };
            methods.0 |= method.0;
        }
        if negative {
            methods.0 = Self::ALL.0 & !methods.0;
        }
        if methods.0 == 0 {
            return Err(
                "require_auth allows nothing that portero has: password, md5, scram-sha-256, none"
                    .into(),
            );
        }
        Ok(methods)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_allows_what_it_names_or_all_else() {
        let table = [
            ("scram-sha-256", Some(8)),
            ("scram-sha-256,md5", Some(12)),
            ("!password", Some(13)),
            ("!password,!none", Some(12)),
            ("gss,none", Some(1)),
            ("!gss", Some(15)),
            ("gss", None),
            ("!none,!password,!md5,!scram-sha-256", None),
            ("md5,!none", None),
            ("!md5,none", None),
            ("", None),
            ("scram", None),
        ];
        for (list, allowed) in table {
            assert_eq!(Methods::parse(list).ok(), allowed.map(Methods), "{list}");
        }
    }
}
