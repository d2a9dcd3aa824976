use super::*;

#[test]
fn a_name_that_nobody_knows_comes_back_by_the_deadline() {
    let started = Instant::now();
    let limit = Duration::from_secs(2);
    let reason = resolve("no-such-host.invalid", Deadline::after(Some(limit)));
    let reason = reason.err().unwrap_or_default();
    assert!(is_unresolved(&reason), "{reason}");
    assert!(
        reason.contains("can't resolve no-such-host.invalid: "),
        "{reason}"
    );
    assert!(started.elapsed() < limit * 5, "{:?}", started.elapsed());
}

#[test]
fn addresses_and_localhost_need_nobody() {
    let table: [(&str, &[&str]); 6] = [
        ("127.0.0.7", &["127.0.0.7"]),
        ("fd00::7", &["fd00::7"]),
        ("127.7", &["127.0.0.7"]),
        ("localhost", &["127.0.0.1", "::1"]),
        ("LocalHost", &["127.0.0.1", "::1"]),
        ("localhost.", &["127.0.0.1", "::1"]),
    ];
    for (name, addresses) in table {
        let found = resolve(name, Deadline::after(Some(Duration::from_secs(10))));
        let found: Vec<_> = found.into_iter().flatten().collect();
        let wanted: Vec<IpAddr> = addresses.iter().filter_map(|it| it.parse().ok()).collect();
        assert_eq!(found, wanted, "{name}");
    }
}
