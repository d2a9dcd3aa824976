//! What applications carry for caches, brokers and other databases.

use crate::probe::target::TargetKind;
use crate::probe::target::tests::{Target, parse, shown};
use crate::table::rows;

#[test]
fn urls_of_brokers_caches_and_other_databases_are_understood_and_show_no_login() {
    let lines = include_str!("forms.txt").lines();
    let lines: Vec<_> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    for [text, name] in rows(&lines.join("\n")) {
        assert_eq!(shown(text), name, "{text}");
    }
    assert!(lines.len() > 90, "{}", lines.len());
}

#[test]
fn a_login_of_redis_comes_from_the_parameters_where_the_url_has_none_before_its_host() {
    let table = "
        redis://cache?username=app&password=p%40w        app   p@w
        redis://:own@cache?username=app&password=other   app   own
        unix:///s.sock?db=1&password=pw                  -     pw
        unix://app:pw@/s.sock                            app   pw
        unix:///s.sock?db=1                              -     -
    ";
    for [text, user, password] in rows(table) {
        let Ok(Target {
            kind: TargetKind::Redis(url),
            ..
        }) = parse(text)
        else {
            panic!("{text} is no Redis target")
        };
        let text_of = |part: &Option<Vec<u8>>| {
            String::from_utf8(part.clone().unwrap_or_default()).unwrap_or_default()
        };
        assert_eq!(
            (text_of(&url.user), text_of(&url.password)),
            (user.into(), password.into()),
            "{text}"
        );
    }
}
