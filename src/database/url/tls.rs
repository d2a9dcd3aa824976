//! What a database URL says of TLS, and where it contradicts itself.

use std::path::PathBuf;

use rustls::SupportedProtocolVersion;

use crate::database::url::keywords::Keywords;
use crate::net::tls::settings::{SslMode, TLS12, TLS13, TlsSettings, TrustedRoots, VERSIONS};

pub(super) fn settings(keywords: &Keywords, home: Option<PathBuf>) -> Result<TlsSettings, String> {
    let roots = keywords.get("sslrootcert").map(|file| match file {
        "system" => TrustedRoots::System,
        file => TrustedRoots::File(file.into()),
    });
    let mode = match keywords
        .get("sslmode")
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        None | Some("verify-full") if roots == Some(TrustedRoots::System) => SslMode::VerifyFull,
        None | Some("prefer") => SslMode::Prefer,
        Some("disable") => SslMode::Disable,
        Some("allow") => SslMode::Allow,
        Some("require") => SslMode::Require,
        // node-postgres' word for libpq's `require`, by which Heroku's applications connect.
        Some("no-verify") => SslMode::RequireUnverified,
        Some("verify-ca") => SslMode::VerifyCa,
        Some("verify-full") => SslMode::VerifyFull,
        Some(_) => {
            return Err(
                "sslmode must be disable, allow, prefer, require, verify-ca or verify-full".into(),
            );
        }
    };
    if roots == Some(TrustedRoots::System) && mode != SslMode::VerifyFull {
        let mode = keywords.get("sslmode").unwrap_or_default();
        return Err(format!(
            "sslmode={mode} is too weak for sslrootcert=system, as in libpq: use sslmode=verify-full"
        ));
    }
    let direct = match keywords.get("sslnegotiation") {
        None | Some("postgres") => false,
        Some("direct") => true,
        Some(_) => return Err("sslnegotiation must be postgres or direct".into()),
    };
    // A service file may still have a mode.
    let is_whole = keywords.get("service").is_none();
    if direct && is_whole && matches!(mode, SslMode::Allow | SslMode::Prefer) {
        return Err("sslnegotiation=direct needs sslmode=require, verify-ca or verify-full".into());
    }
    let file = |keyword| keywords.get(keyword).map(PathBuf::from);
    Ok(TlsSettings {
        mode,
        roots,
        certificate: file("sslcert"),
        key: file("sslkey"),
        versions: versions(keywords)?,
        sni: keywords.get("sslsni") != Some("0"),
        may_identify: match keywords.get("sslcertmode") {
            None | Some("allow") => true,
            Some("disable") => false,
            Some("require") => {
                return Err("portero does not tell whether a server asks for a certificate (sslcertmode=require)".into());
            }
            Some(_) => return Err("sslcertmode must be disable, allow or require".into()),
        },
        direct,
        home,
    })
}

/// Which of TLS 1.2 and 1.3 are left by the versions that are given.
fn versions(keywords: &Keywords) -> Result<&'static [&'static SupportedProtocolVersion], String> {
    let number = |keyword: &str, default| match keywords
        .get(keyword)
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        None => Ok(default),
        Some("tlsv1") => Ok(0),
        Some("tlsv1.1") => Ok(1),
        Some("tlsv1.2") => Ok(2),
        Some("tlsv1.3") => Ok(3),
        Some(_) => Err(format!(
            "{keyword} must be TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3"
        )),
    };
    let (least, most) = (
        number("ssl_min_protocol_version", 2)?,
        number("ssl_max_protocol_version", 3)?,
    );
    match (least, most) {
        (0..=2, 3) => Ok(VERSIONS),
        (3, 3) => Ok(TLS13),
        (0..=2, 2) => Ok(TLS12),
        _ => Err(
            "ssl_min_protocol_version and ssl_max_protocol_version leave none of portero's TLS versions, 1.2 and 1.3"
                .into(),
        ),
    }
}
