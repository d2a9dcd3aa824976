use std::ffi::OsStr;

use super::*;
use crate::environment::Environment;

#[test]
fn a_refusal_is_told_with_what_to_check() {
    let (postgres, redis, http) = ("postgres://u@db/d", "rediss://h", "https://h/");
    let table = [
        (postgres, "no (28P01)", "user and password of its URL"),
        (
            postgres,
            "connection requires a valid client certificate (28000)",
            "sslcert and sslkey of its URL",
        ),
        (
            postgres,
            "Tenant or user not found (XX000)",
            "the project's name with the user's",
        ),
        (
            postgres,
            "Endpoint ID is not specified (08P01)",
            "the endpoint's name",
        ),
        (
            postgres,
            "No pool configured (58000)",
            "the pooler has none of these",
        ),
        (
            postgres,
            "require_auth: the server asks",
            "require_auth of its URL",
        ),
        (
            postgres,
            "the server asks for OAUTHBEARER",
            "portero knows passwords and client certificates",
        ),
        (postgres, "no entry (28000)", "user and sslmode of its URL"),
        (postgres, "no such database (3D000)", "that it was created"),
        (postgres, "denied (42501)", "GRANT CONNECT ON DATABASE"),
        (
            postgres,
            "unsupported startup parameter",
            "the URL's options parameter",
        ),
        (
            postgres,
            "certificate refused",
            "sslmode and sslrootcert of its URL",
        ),
        (postgres, "is not PostgreSQL", "host and port of its URL"),
        (
            postgres,
            "anything",
            "user, password, database and sslmode of its URL",
        ),
        (redis, "anything", "the URL's scheme, user and password"),
        (http, "anything", "the server's certificate and --ca-cert"),
    ];
    for (url, reason, expected) in table {
        let target = Target::parse(OsStr::new(url), &Environment::default());
        let target = target.unwrap_or_else(|failure| panic!("{failure}"));
        let check = what_to_check(&target, reason);
        assert!(check.contains(expected), "{reason}: {check}");
    }
}
