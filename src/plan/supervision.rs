//! How COMMAND and migrations are supervised, and what a stop is.

use crate::cli::Opt;
use crate::cli::mode::Mode;
use crate::exit::Failure;
use crate::settings::Settings;
use crate::supervise::Supervision;
use crate::supervise::signals::SignalMap;

/// `--map-signal` as far as it says what a stop is, for what forwards nothing: `wait` has it of its variable alone.
///
/// # Errors
/// 125 for what is no FROM=TO.
pub fn stops_of(settings: &Settings<'_>) -> Result<SignalMap, Failure> {
    match settings.typed.mode {
        Mode::Healthcheck => Ok(SignalMap::default()),
        _ => signal_map(settings),
    }
}

fn signal_map(settings: &Settings<'_>) -> Result<SignalMap, Failure> {
    let mut map = SignalMap::default();
    for item in settings.list(Opt::MapSignal)? {
        map.add(&item.to_string_lossy())
            .map_err(|error| settings.invalid(Opt::MapSignal, &error))?;
    }
    Ok(map)
}

pub fn supervision(settings: &Settings<'_>) -> Result<Supervision, Failure> {
    Ok(Supervision {
        group: settings.switch(Opt::SignalGroup)?,
        map: signal_map(settings)?,
        stop_delay: settings.pause(Opt::StopDelay)?,
        stop_timeout: settings.limit(Opt::StopTimeout)?,
        orphan_grace: settings.limit(Opt::OrphanGrace)?,
        tells_reaped: settings.typed.tells_reaped,
    })
}
