//! TLS over a wire, as a client.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::net::tls::refusals::explain;
use crate::net::wire::Wire;

/// What a session is made by.
pub type Config = Arc<ClientConfig>;

/// A connection whose handshake is over.
pub struct Session(Box<StreamOwned<ClientConnection, Wire>>);

impl Session {
    /// Shakes hands as a client of `host`.
    ///
    /// # Errors
    /// A failure of TLS is an error whose source is a [`rustls::Error`].
    pub fn begin(mut wire: Wire, host: &str, config: Config) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::other(error.to_string()))?;
        let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            match connection.complete_io(&mut wire) {
                Ok((0, 0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => {
                    // The server is told why, by an alert that may stand behind other records.
                    while connection.wants_write() && connection.write_tls(&mut wire).is_ok() {}
                    return Err(error);
                }
            }
        }
        Ok(Self(Box::new(StreamOwned::new(connection, wire))))
    }
}

impl Read for Session {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Session {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Why TLS did not come about, and what to do, where that is what an error is about. `plain` is the scheme without TLS.
pub fn refusal(error: &io::Error, plain: &str) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    if matches!(error, rustls::Error::InvalidMessage(_)) {
        return Some(format!("it does not speak TLS on this port: use {plain}"));
    }
    let identity = if plain == "redis://" {
        "ssl_certfile and ssl_keyfile in the URL"
    } else {
        "portero has none for https"
    };
    Some(explain(error, "--ca-cert", identity))
}
