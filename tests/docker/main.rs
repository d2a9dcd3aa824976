//! portero in real containers, for the stacks that people run, on a real Docker engine.
//!
//! Each application below `apps/` has a Dockerfile as its team would write it. The images that it is based on are made
//! of Debian's packages and kept by the engine, so that the first run takes minutes and the next does not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    clippy::type_complexity,
    missing_docs
)]

#[path = "../common/mod.rs"]
mod common;
mod compose;
mod engine;
mod example;
mod fastapi;
mod http;
mod https;
mod images;
mod install;
mod nextjs;
mod postgres;
mod production;
mod secrets;
mod servers;
mod slow;
mod ways_around;
