//! What is meant: the typed plans that the command line and the environment come to. Made purely: nothing here reads a
//! file, asks the system, or prints.

mod command;
mod describe;
mod identity;
mod migrate;
mod output;
mod probe;
mod run;
mod stage;
mod supervision;
#[cfg(test)]
#[cfg(all(feature = "postgres", feature = "redis"))]
mod tests;
mod wait;

pub use identity::identity;
pub use migrate::MigratePlan;
pub use output::output;
pub use probe::ProbePlan;
pub use run::RunPlan;
pub use stage::Stage;
pub use supervision::stops_of;
pub use wait::WaitPlan;
