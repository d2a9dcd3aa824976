use std::ffi::OsStr;

use super::*;
use crate::environment::Environment;
use crate::table::rows;

#[test]
fn a_refusal_is_told_with_what_to_check() {
    let table = "
        postgres://u@db/d  no (28P01)  user and password of its URL
        postgres://u@db/d  connection requires a valid client certificate (28000)  sslcert and sslkey of its URL
        postgres://u@db/d  Tenant or user not found (XX000)  the project's name with the user's
        postgres://u@db/d  Endpoint ID is not specified (08P01)  the endpoint's name
        postgres://u@db/d  No pool configured (58000)  the pooler has none of these
        postgres://u@db/d  require_auth: the server asks  require_auth of its URL
        postgres://u@db/d  the server asks for OAUTHBEARER  portero knows passwords and client certificates
        postgres://u@db/d  no entry (28000)  user and sslmode of its URL
        postgres://u@db/d  no such database (3D000)  that it was created
        postgres://u@db/d  denied (42501)  GRANT CONNECT ON DATABASE
        postgres://u@db/d  unsupported startup parameter  the URL's options parameter
        postgres://u@db/d  certificate refused  sslmode and sslrootcert of its URL
        postgres://u@db/d  is not PostgreSQL  host and port of its URL
        postgres://u@db/d  anything  user, password, database and sslmode of its URL
        rediss://h         anything  the URL's scheme, user and password
        https://h/         anything  the server's certificate and --ca-cert
    ";
    for [url, reason, expected] in rows(table) {
        let target = Target::parse(OsStr::new(url), &Environment::default());
        let target = target.unwrap_or_else(|failure| panic!("{failure}"));
        let check = what_to_check(&target, reason);
        assert!(check.contains(expected), "{reason}: {check}");
    }
}
