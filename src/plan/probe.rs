//! What `portero healthcheck` comes to.

use std::ffi::OsString;
use std::time::Duration;

use crate::cli::Opt;
use crate::exit::Failure;
use crate::net::address;
use crate::net::verification::Verification;
use crate::plan::wait::verification;
use crate::probe::question::{Expectation, StatusSet};
use crate::probe::target::Target;
use crate::settings::{HEALTH_TARGETS, Settings};
use crate::wording::shown;

/// What `portero healthcheck` does.
#[derive(Clone, Debug)]
pub struct ProbePlan {
    /// Probed side by side; all must pass.
    pub targets: Vec<Target>,
    /// One deadline over everything; `None` is no limit.
    pub timeout: Option<Duration>,
    /// What is asked of an HTTP target, and which answer is healthy.
    pub expectation: Expectation,
    /// For `https` and `rediss` targets.
    pub verification: Verification,
    /// Healthy also while portero itself is still waiting or migrating.
    pub live: bool,
}

impl ProbePlan {
    /// What `portero healthcheck` comes to: its operands, else `PORTERO_HEALTH_TARGET`, else the image's own port.
    ///
    /// # Errors
    /// Usage errors; the caller makes them 1.
    pub fn new(settings: &Settings<'_>) -> Result<Self, Failure> {
        let mut targets = Vec::new();
        for text in settings.targets(HEALTH_TARGETS)? {
            targets.push(Target::parse(&text, settings.environment)?);
        }
        if targets.is_empty() {
            let path = settings.text(Opt::Path)?.unwrap_or_default();
            targets.push(Target::own_http(health_port(settings)?, &path)?);
        }
        Ok(Self {
            targets,
            timeout: settings.limit(Opt::Timeout)?,
            expectation: expectation(settings)?,
            verification: verification(settings, Opt::HealthCaCert, Opt::HealthInsecure)?,
            live: settings.switch(Opt::Live)?,
        })
    }
}

fn health_port(settings: &Settings<'_>) -> Result<u16, Failure> {
    let typed = settings
        .value(Opt::Port)?
        .map(|port| (settings.origin(Opt::Port), port));
    let platform = || {
        settings
            .environment
            .given("PORT")
            .map(|port| (String::from("PORT"), port.to_os_string()))
    };
    let default = || {
        Ok::<_, Failure>(
            settings
                .value(Opt::DefaultPort)?
                .map(|port| (settings.origin(Opt::DefaultPort), port)),
        )
    };
    let given = match typed.or_else(platform) {
        Some(given) => Some(given),
        None => default()?,
    };
    let Some((origin, port)) = given else {
        return Err(Failure::failed(
            "no port is known: put ENV PORT=… in the Dockerfile, as the check runs with the image's environment",
        ));
    };
    port.to_str().and_then(address::port).ok_or_else(|| {
        Failure::failed(format!("{origin}={} is not a port (1-65535)", shown(&port)))
    })
}

fn expectation(settings: &Settings<'_>) -> Result<Expectation, Failure> {
    let mut headers = Vec::new();
    for header in settings.list(Opt::Header)? {
        let text = header.to_str().and_then(|text| text.split_once(':'));
        let (name, value) =
            text.ok_or_else(|| settings.invalid(Opt::Header, "an item is not 'Name: value'"))?;
        headers.push((name.trim().to_string(), value.trim().to_string()));
    }
    let status = settings.text(Opt::Status)?.unwrap_or_default();
    let expectation = Expectation {
        method: settings.text(Opt::Method)?.unwrap_or_default(),
        headers,
        status: StatusSet::parse(&status).map_err(|error| settings.invalid(Opt::Status, &error))?,
        contains: settings
            .value(Opt::Contains)?
            .map(OsString::into_encoded_bytes),
    };
    expectation.validate()?;
    Ok(expectation)
}
