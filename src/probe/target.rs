//! The one grammar of targets, for `--wait`, `wait` and `healthcheck`.
