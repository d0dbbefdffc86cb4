//! `/-/log-level`: which level the log has, and another one for as long as somebody looks for something.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::log::{self, Levels, Log};
use crate::server::problem::Problem;

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// `null` goes back to `log.level`. It has to be said: nothing at all is a mistake.
    #[serde(deserialize_with = "Option::deserialize")]
    level: Option<String>,
}

/// `{level, configured, set}`.
pub(super) fn show(log: &Log) -> Value {
    let levels = log.levels();
    let Levels { configured, set } = levels;
    json!({ "level": log::name(levels.in_force()), "configured": log::name(configured), "set": set.map(log::name) })
}

/// Sets it, and shows it.
pub(super) fn set(log: &Log, body: &[u8]) -> Result<Value, Problem> {
    let wrong = || {
        let detail = format!(
            "send {{\"level\": LEVEL}}, where LEVEL is one of {}, or null for what `log.level` says",
            log::names().map(|name| format!("\"{name}\"")).join(", ")
        );
        Problem::new(StatusCode::BAD_REQUEST, detail)
    };
    let Asked { level } = serde_json::from_slice(body).map_err(|_| wrong())?;
    let level = level.map(|name| log::parse(&name).ok_or_else(wrong)).transpose()?;
    log.set(level);
    Ok(show(log))
}
