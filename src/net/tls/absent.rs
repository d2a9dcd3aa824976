//! What stands for TLS in a build without it. Targets that need it are refused by name, so nothing comes as far as
//! this.
// The signatures are those of TLS.
#![allow(clippy::needless_pass_by_value)]

use std::io::{self, Read, Write};

use crate::features::Feature;
use crate::net::verification::{OwnFiles, Verification};
use crate::net::wire::Wire;

/// There is none.
#[derive(Clone, Debug)]
pub enum Config {}

/// There is none.
pub enum Session {}

impl Session {
    pub fn begin(_: Wire, _: &str, config: Config) -> io::Result<Self> {
        match config {}
    }
}

impl Read for Session {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}

impl Write for Session {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match *self {}
    }
}

pub fn client_config(_: &Verification, _: &OwnFiles, _: bool) -> Result<Config, String> {
    Err(Feature::Tls.refusal())
}

pub fn refusal(_: &io::Error, _: &str) -> Option<String> {
    None
}
