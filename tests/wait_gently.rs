//! A wait does no harm by asking: accounts get locked, name servers have limits, and logs fill.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::time::Duration;

use common::{Run, retries};

/// Long enough for the pauses to have grown to a second.
const SPAN: Duration = Duration::from_secs(5);

fn wait(target: &str) -> Run {
    Run::portero().args(["wait", "--wait-timeout", "none", target])
}

#[test]
fn a_port_that_refuses_is_tried_twice_a_second_at_most_once_the_pauses_have_grown() {
    let tries = retries::refused(wait, SPAN);
    // Seven in the first second, then at least half a second between two; a busy machine makes them fewer.
    assert!((5..=18).contains(&tries), "{tries} connections in {SPAN:?}");
}

#[test]
fn a_name_that_does_not_exist_is_looked_up_once_a_second() {
    let questions = retries::look_ups(wait, SPAN);
    // Two families each time.
    assert!(
        (4..=14).contains(&questions),
        "{questions} questions in {SPAN:?}"
    );
}

#[test]
fn a_wrong_password_is_tried_once_a_second() {
    let logins = retries::logins(wait, SPAN);
    assert!((2..=6).contains(&logins), "{logins} logins in {SPAN:?}");
}
