//! What is put right before anything runs: the environment, the user, the privileges.

pub mod environment;
