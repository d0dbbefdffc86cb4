//! `/-/log-level`: which level the log has, and another one for as long as somebody looks for something.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::log::{self, Levels, Log};
use crate::server::problem::Problem;

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
    let asked: Map<String, Value> = serde_json::from_slice(body).map_err(|_| wrong())?;
    // `null` goes back to `log.level`. It has to be said: nothing at all is a mistake.
    let level = match asked.get("level").filter(|_| asked.len() == 1) {
        Some(Value::Null) => None,
        Some(Value::String(name)) => Some(log::parse(name).ok_or_else(wrong)?),
        _ => return Err(wrong()),
    };
    log.set(level);
    Ok(show(log))
}
