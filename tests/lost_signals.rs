//! A SIGTERM in the first milliseconds: a PID 1 loses what comes before it has blocked the signal, and an init that is
//! careless while it starts COMMAND loses it later too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::sync::Mutex;

use common::early::{Since, loses_term, sweep};
use common::inits::Init;

/// One at a time: each needs a core to send at the right moment and one for the init.
static MEASURING: Mutex<()> = Mutex::new(());

#[test]
fn no_term_is_lost_once_all_is_blocked() {
    let _alone = MEASURING.lock();
    for init in [Init::portero(), Init::portero_group()] {
        for delay in sweep(250) {
            let lost = loses_term(&init, Since::Blocked, delay);
            assert!(!lost, "lost {delay:?} after the block by {init:?}");
        }
    }
}

#[test]
fn fewer_terms_are_lost_from_exec_on_than_by_any_other_init() {
    let _alone = MEASURING.lock();
    let mut inits = vec![Init::portero()];
    inits.extend(Init::others());
    let mut lost = vec![0; inits.len()];
    let tries = 200;
    // Taken in turns, so that what else the machine does hits all alike.
    for delay in sweep(tries) {
        for (init, lost) in inits.iter().zip(&mut lost) {
            *lost += u32::from(loses_term(init, Since::Executed, delay));
        }
    }
    let figures: Vec<String> = inits
        .iter()
        .zip(&lost)
        .map(|(init, lost)| format!("{} {lost}", init.name))
        .collect();
    assert!(
        lost[1..].iter().all(|others| lost[0] < *others),
        "lost of {tries}: {}",
        figures.join(", ")
    );
}
