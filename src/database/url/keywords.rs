//! What a connection is given by name: libpq's keywords, from the URL, then from a service file, then from `PG…`
//! variables (PostgreSQL manual, 34.1.2 "Parameter Key Words" and 34.15 "Environment Variables").

use crate::database::url::names::{KEYWORDS, PASSED_OVER, own_name, own_value};
use crate::database::url::syntax::{Address, Parts, check_port};
use crate::environment::Environment;

/// The given values by keyword, each with where it comes from: [`URL`], [`SERVICE`] or a variable. An empty value
/// counts as not given.
#[derive(Default)]
pub(super) struct Keywords(Vec<(&'static str, String, &'static str)>);

const URL: &str = "the database URL";
const SERVICE: &str = "the service file";

impl Keywords {
    /// The URL's parts, its query parameters over them, and the environment for what is missing.
    /// `service` is what a service file has, when that was read.
    pub(super) fn collect(
        parts: Parts,
        env: &Environment,
        service: &[(String, String)],
    ) -> Result<Self, String> {
        let mut keywords = Self::default();
        let (host, port) = lists(&parts.addresses);
        keywords.set("host", host);
        keywords.set("port", port);
        keywords.set("user", parts.user);
        keywords.set("password", parts.password);
        keywords.set("dbname", parts.database);
        keywords.override_by(parts.query);
        keywords.take_service(service);
        for (keyword, variable) in KEYWORDS {
            if let Some(value) = env.given(variable)
                && keywords.get(keyword).is_none()
            {
                let value = value
                    .to_str()
                    .ok_or_else(|| format!("{variable} is not UTF-8"))?;
                keywords.set_from(variable, keyword, value.into());
            }
        }
        // The forerunner of PGSSLMODE, which libpq still knows.
        if keywords.get("sslmode").is_none()
            && env.given("PGREQUIRESSL").is_some_and(|on| on == "1")
        {
            keywords.set_from("PGREQUIRESSL", "sslmode", "require".into());
        }
        Ok(keywords)
    }

    /// What a service file has for what the URL does not say.
    fn take_service(&mut self, parameters: &[(String, String)]) {
        for (name, value) in parameters {
            match KEYWORDS.iter().find(|(keyword, _)| keyword == name) {
                Some((keyword, _)) if self.get(keyword).is_none() => {
                    self.set_from(SERVICE, keyword, value.clone());
                }
                Some(_) => {}
                None => pass_over(name),
            }
        }
    }

    /// The value of a keyword, when it was given.
    pub(super) fn get(&self, keyword: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, ..)| *name == keyword)
            .map(|(_, value, _)| value.as_str())
    }

    /// A keyword as an error names it: with where it stands, or by its variable.
    pub(super) fn place(&self, keyword: &str) -> String {
        match self.0.iter().find(|(name, ..)| *name == keyword) {
            Some((.., from @ (URL | SERVICE))) => format!("{keyword} in {from}"),
            Some((.., variable)) => String::from(*variable),
            None => keyword.to_owned(),
        }
    }

    /// The same, to keep.
    pub(super) fn owned(&self, keyword: &str) -> Option<String> {
        self.get(keyword).map(String::from)
    }

    fn set(&mut self, keyword: &'static str, value: String) {
        self.set_from(URL, keyword, value);
    }

    fn set_from(&mut self, from: &'static str, keyword: &'static str, value: String) {
        if !value.is_empty() {
            self.0.retain(|(name, ..)| *name != keyword);
            self.0.push((keyword, value, from));
        }
    }

    /// Query parameters replace what the authority says, as libpq does it.
    fn override_by(&mut self, query: Vec<(String, String)>) {
        let mut addresses = Vec::new();
        // Prisma's sslcert is the server's: the root to verify by, where it verifies at all.
        let accepts = query.iter().find(|(name, _)| name == "sslaccept");
        let is_strict = accepts.map(|(_, word)| word == "strict");
        for (name, value) in query {
            match name.as_str() {
                "sslcert" if is_strict == Some(true) => self.set("sslrootcert", value),
                "sslcert" if is_strict == Some(false) => {}
                // SQLAlchemy repeats `host` for several hosts and gives each its port.
                "host" => addresses.extend(value.split(',').map(host_and_port)),
                // JDBC's word, which libpq understands too; asyncpg, node-postgres: also a mode.
                "ssl" => self.set("sslmode", ssl_word(&value)),
                // pg8000: the socket itself instead of its directory.
                "unix_sock" => {
                    let (directory, file) = value.rsplit_once('/').unwrap_or((&value, ""));
                    self.set(
                        "port",
                        file.strip_prefix(".s.PGSQL.").unwrap_or_default().into(),
                    );
                    self.set("host", directory.into());
                }
                _ => match KEYWORDS
                    .iter()
                    .find(|(keyword, _)| *keyword == own_name(&name))
                {
                    Some((keyword, _)) => self.set(keyword, own_value(keyword, value)),
                    None => pass_over(&name),
                },
            }
        }
        if !addresses.is_empty() {
            let (host, port) = lists(&addresses);
            self.set("host", host);
            self.set("port", port);
        }
    }
}

/// Hosts and ports as libpq's lists; empty when no host, or no port, is given at all.
fn lists(addresses: &[Address]) -> (String, String) {
    let join = |part: fn(&Address) -> &str| {
        let parts: Vec<&str> = addresses.iter().map(part).collect();
        if parts.iter().all(|part| part.is_empty()) {
            String::new()
        } else {
            parts.join(",")
        }
    };
    (join(|address| &address.host), join(|address| &address.port))
}

/// A host of a `host=` parameter: only a name or an IPv4 address may have a port behind a colon.
fn host_and_port(text: &str) -> Address {
    let split = text.split_once(':').filter(|(host, port)| {
        !host.is_empty() && !host.contains('/') && !port.is_empty() && check_port(port).is_ok()
    });
    let (host, port) = split.unwrap_or((text.trim_matches(['[', ']']), ""));
    Address {
        host: host.into(),
        port: port.into(),
    }
}

fn ssl_word(value: &str) -> String {
    match value.to_ascii_lowercase().as_str() {
        // libpq's fe-connect.c translates ssl=true to this.
        "true" | "1" | "on" | "yes" => "require".into(),
        "false" | "0" | "off" | "no" => "disable".into(),
        mode => mode.into(),
    }
}

/// Names the parameter when it is a known one; anything else may be a piece of a password that was not encoded.
fn pass_over(name: &str) {
    let known = PASSED_OVER.iter().find(|known| **known == name);
    let shown = known.unwrap_or(&"of another name");
    log::debug!("the database URL's parameter {shown} is passed over");
}
