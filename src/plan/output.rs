//! How portero speaks.

use log::LevelFilter;

use crate::cli::Opt;
use crate::exit::Failure;
use crate::logger::Format;
use crate::settings::Settings;
use crate::wording::shown;

/// How portero speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputPlan {
    /// From this level on.
    pub level: LevelFilter,
    /// Text or JSON.
    pub format: Format,
}

/// `--log-level`, `-q`, `-v` and `--log-format`.
///
/// # Errors
/// 125 for a word that is neither.
pub fn output(settings: &Settings<'_>) -> Result<OutputPlan, Failure> {
    let level = match settings.text(Opt::LogLevel)?.as_deref() {
        _ if settings.switch(Opt::Quiet)? => LevelFilter::Error,
        _ if settings.switch(Opt::Verbose)? => LevelFilter::Debug,
        Some("error") => LevelFilter::Error,
        Some("warn") => LevelFilter::Warn,
        Some("info") | None => LevelFilter::Info,
        Some("debug") => LevelFilter::Debug,
        Some(other) => {
            return Err(settings.invalid(
                Opt::LogLevel,
                &format!("{} is not error, warn, info or debug", shown(other)),
            ));
        }
    };
    let format = match settings.text(Opt::LogFormat)?.as_deref() {
        Some("text") | None => Format::Text,
        Some("json") => Format::Json,
        Some(other) => {
            return Err(settings.invalid(
                Opt::LogFormat,
                &format!("{} is not text or json", shown(other)),
            ));
        }
    };
    Ok(OutputPlan { level, format })
}
