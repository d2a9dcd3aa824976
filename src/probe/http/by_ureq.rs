//! The request made by ureq.

use std::io::Read;

use ureq::Agent;

use crate::net::link::Link;
use crate::probe::http::message::{ForeignServer, NoAnswer, Request};
use crate::probe::http::transport::{NoResolver, Transport, TransportParts};

/// What came back; its body is read as far as anybody asks for it.
pub(super) struct Answer {
    pub status: u16,
    pub location: Option<Vec<u8>>,
    pub body: Box<dyn Read>,
}

/// Makes the request over this connection.
pub(super) fn exchange(link: Link, request: &Request<'_>) -> Result<Answer, NoAnswer> {
    let scheme = if link.is_tls() { "https" } else { "http" };
    let uri = format!("{scheme}://{}{}", request.authority, request.path);
    let mut builder = ureq::http::Request::builder()
        .method(request.method)
        .uri(uri);
    for (name, value) in &request.headers {
        builder = builder.header(*name, *value);
    }
    let message = builder
        .body(())
        .map_err(|error| NoAnswer::Other(error.to_string()))?;
    let parts = TransportParts::new(Transport::new(link, size(request)));
    let response = agent(parts).run(message).map_err(no_answer)?;
    let location = response.headers().get("location");
    Ok(Answer {
        status: response.status().as_u16(),
        location: location.map(|place| place.as_bytes().to_vec()),
        body: Box::new(response.into_body().into_reader()),
    })
}

/// Bytes enough for the whole request head, so that it goes out in one write.
fn size(request: &Request<'_>) -> usize {
    let headers = request.headers.iter();
    let headers: usize = headers
        .map(|(name, value)| name.len() + value.len() + 4)
        .sum();
    1024 + request.path.len() + headers
}

/// An agent for one request over one connection: no redirects, no proxy from the environment, no limit of its own.
fn agent(parts: TransportParts) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .max_idle_connections(0)
        .allow_non_standard_methods(true)
        .user_agent(concat!("portero/", env!("CARGO_PKG_VERSION")))
        .build();
    Agent::with_parts(config, parts, NoResolver)
}

fn no_answer(error: ureq::Error) -> NoAnswer {
    match error {
        ureq::Error::Io(error) => NoAnswer::Io(error),
        ureq::Error::Other(error) => match error.downcast_ref::<ForeignServer>() {
            Some(foreign) => NoAnswer::Foreign(*foreign),
            None => NoAnswer::Other(error.to_string()),
        },
        ureq::Error::Protocol(error) => {
            let text = error.to_string();
            let prefixes = ["http parse fail: ", "http parse resulted in "];
            let reason = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix));
            NoAnswer::NoHttp(reason.unwrap_or(&text).to_owned())
        }
        ureq::Error::LargeResponseHeader(..) => NoAnswer::LongHeader,
        error => NoAnswer::Other(error.to_string()),
    }
}
