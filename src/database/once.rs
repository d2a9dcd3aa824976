//! `--migrate-once`: which version, and the table of portero's own in which it is recorded.

use postgres_protocol::escape::{escape_identifier, escape_literal};

use crate::wording::shown;

/// Longest name of a schema or a table, in bytes: Postgres cuts longer ones (`NAMEDATALEN`), and they would collide.
const LONGEST_NAME: usize = 63;
/// Longest version, in bytes: an image's tag has at most 128 characters, a commit 64.
const LONGEST_VERSION: usize = 200;
/// What moves on from build to build, so that the second build would never migrate.
const MOVING: [&str; 4] = ["latest", "main", "master", "dev"];

/// What is migrated once, and where that is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrateOnce {
    /// Unique per build.
    pub version: String,
    /// Where it is recorded.
    pub table: Table,
}

impl MigrateOnce {
    /// A version that can be told from every other build's.
    ///
    /// # Errors
    /// Why the text is none.
    pub fn version(text: &str) -> Result<String, String> {
        let unique = "say what is unique to each build, such as an image tag or a commit";
        if text.is_empty() {
            return Err(format!("it is empty: {unique}"));
        }
        if MOVING
            .iter()
            .any(|moving| text.eq_ignore_ascii_case(moving))
        {
            return Err(format!("'{text}' is the name of many builds: {unique}"));
        }
        if text.len() > LONGEST_VERSION
            || text.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Err(format!(
                "it has white space in it or more than {LONGEST_VERSION} bytes: {unique}"
            ));
        }
        Ok(text.to_owned())
    }
}

/// `SCHEMA.TABLE`, each name to the letter: upper case stays upper case, since both are quoted wherever they are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    schema: String,
    name: String,
}

impl Table {
    /// Reads `SCHEMA.TABLE`. A schema must be said: the search path is not the same for every role, and the migration
    /// tools' own schema is where portero's table must not be.
    ///
    /// # Errors
    /// Why the text is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split('.').collect();
        let [schema, name] = parts.as_slice() else {
            return Err(format!(
                "{} is not SCHEMA.TABLE, e.g. portero.migrations",
                shown(text)
            ));
        };
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$');
        for part in [schema, name] {
            if part.is_empty() || part.len() > LONGEST_NAME || !part.chars().all(plain) {
                return Err(format!(
                    "{} is not SCHEMA.TABLE of 1 to {LONGEST_NAME} letters, digits, _, - or $ each, without quotes",
                    shown(text)
                ));
            }
        }
        Ok(Self {
            schema: (*schema).to_owned(),
            name: (*name).to_owned(),
        })
    }

    /// As SQL names it.
    pub fn quoted(&self) -> String {
        format!("{}.{}", self.quoted_schema(), escape_identifier(&self.name))
    }

    /// The schema as SQL names it.
    pub fn quoted_schema(&self) -> String {
        escape_identifier(&self.schema)
    }

    /// Makes the schema. Not `IF NOT EXISTS`: that would ask for the right to make one even where it is there.
    pub fn create_schema(&self) -> String {
        format!("CREATE SCHEMA {}", self.quoted_schema())
    }

    /// Makes the table, by the catalog's own types.
    pub fn create(&self) -> String {
        self.create_with("pg_catalog.")
    }

    fn create_with(&self, catalog: &str) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (lock_name {catalog}text NOT NULL, version {catalog}text NOT NULL, \
             finished_at {catalog}timestamptz NOT NULL DEFAULT {catalog}now(), host {catalog}text NOT NULL, \
             PRIMARY KEY (lock_name, version))",
            self.quoted()
        )
    }

    /// What an administrator runs so that `role` can do without rights of its own to make schemas and tables.
    pub fn administration(&self, role: &str) -> String {
        let (schema, table, role) = (self.quoted_schema(), self.quoted(), escape_identifier(role));
        format!(
            "CREATE SCHEMA IF NOT EXISTS {schema}; {}; GRANT USAGE ON SCHEMA {schema} TO {role}; \
             GRANT SELECT, INSERT ON {table} TO {role};",
            self.create_with("")
        )
    }
}

/// Text as SQL writes it, under either setting of `standard_conforming_strings`.
pub fn literal(text: &str) -> String {
    escape_literal(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_unique_to_a_build() {
        for text in [
            "v1",
            "1.0",
            "2024-07-01.3",
            "sha-0a1b2c",
            "l'été",
            "latest-2",
        ] {
            assert_eq!(MigrateOnce::version(text).as_deref(), Ok(text));
        }
        let long = "v".repeat(201);
        for text in [
            "", "latest", "LATEST", "main", "master", "dev", "v 1", " v1", "v1\n", &long,
        ] {
            assert!(MigrateOnce::version(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_table_is_a_schema_and_a_name_and_nothing_that_could_end_a_quote() {
        let quoted = |text: &str| Table::parse(text).map(|table| table.quoted());
        let long = "t".repeat(63);
        for (text, expected) in [
            ("portero.migrations", "\"portero\".\"migrations\""),
            ("Ops.Portero-1$", "\"Ops\".\"Portero-1$\""),
            ("ops.büro", "\"ops\".\"büro\""),
            (&format!("a.{long}"), &format!("\"a\".\"{long}\"")),
        ] {
            assert_eq!(quoted(text).as_deref(), Ok(expected));
        }
        for text in [
            "",
            ".",
            "migrations",
            "a.",
            ".b",
            "a.b.c",
            "\"a\".\"b\"",
            "a.b;c",
            "a.b c",
            "a.b'",
            "a.b\\",
            "a.b\n",
            "a.b--\"",
            &format!("a.{long}t"),
        ] {
            assert!(quoted(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn text_stays_within_its_quotes() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("\\'; DROP"), " E'\\\\''; DROP'");
    }
}
