//! What stands for Redis in a build without it: its URLs are refused by name.

use std::fmt;

use crate::features::Feature;
use crate::net::deadline::Deadline;
use crate::net::readiness::Readiness;
use crate::probe::question::Question;

/// There is none.
#[derive(Clone)]
pub enum RedisUrl {}

impl RedisUrl {
    pub fn parse(_: &str, _: bool) -> Result<Self, String> {
        Err(Feature::Redis.refusal())
    }

    pub fn parse_socket(_: &str) -> Result<Self, String> {
        Err(Feature::Redis.refusal())
    }

    pub fn ask(&self, _: &Question, _: Deadline) -> Readiness {
        match *self {}
    }

    pub fn check_files(&self, _: &Question) -> Result<(), String> {
        match *self {}
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
