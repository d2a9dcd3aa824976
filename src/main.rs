//! portero, the doorman of a container.

mod exit;
mod probe;
mod setup;
mod sys;

fn main() {}
