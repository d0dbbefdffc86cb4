//! `POST /-/reload`: looks at the configuration's files at once, and says what that came to.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::admin::config::listed;
use crate::diagnostic::Level;
use crate::metrics::Reloaded;
use crate::reload::{Hints, Refusal, Told};
use crate::server::problem::Problem;

/// How long a request waits for its look, which a file system that hangs may hold up.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Seconds after which to come again.
const RETRY_AFTER: u32 = 5;

/// Asks for a look and waits for what it comes to.
pub(super) async fn reload(hints: &Hints) -> Result<Value, Problem> {
    let later = |detail: &str| Problem::later(StatusCode::SERVICE_UNAVAILABLE, detail, RETRY_AFTER);
    let closing = || later("the sidecar is closing: what the files say counts from its next start");
    let told = hints.request().map_err(|refusal| match refusal {
        Refusal::Crowded => later("too many requests wait for a look at the files; one look answers all of them"),
        Refusal::Closing => closing(),
    })?;
    match tokio::time::timeout(ANSWER_WITHIN, told).await {
        Ok(Ok(told)) => answer(&told),
        Ok(Err(_)) => Err(closing()),
        Err(_) => Err(later(
            "the files could not be read in time: a file system may hang; what was in force stays, and the look goes on",
        )),
    }
}

/// What a look came to, for programs: 422 for a configuration that is not taken.
fn answer(told: &Told) -> Result<Value, Problem> {
    let (generation, hash) = (told.generation, told.hash.as_ref());
    let (diagnostics, unlisted) = listed(&told.diagnostics);
    let result = match told.result {
        Reloaded::Refused => {
            let faults = told.diagnostics.iter().filter(|one| one.level == Level::Error).count();
            let plural = if faults == 1 { "" } else { "s" };
            let detail =
                format!("the configuration has {faults} fault{plural}; generation {generation} stays in force");
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
                .with("generation", generation)
                .with("hash", hash)
                .with("diagnostics", diagnostics)
                .with("unlisted", unlisted));
        }
        result => result.as_str(),
    };
    Ok(json!({
        "result": result,
        "generation": generation,
        "hash": hash,
        "added": names(&told.differences.added),
        "changed": names(&told.differences.changed),
        "removed": names(&told.differences.removed),
        "restart": told.restart,
        "warnings": diagnostics,
        "unlisted": unlisted,
    }))
}

fn names(names: &[Arc<str>]) -> Vec<&str> {
    names.iter().map(AsRef::as_ref).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::{Diagnostic, Place};
    use crate::reload::{DIAGNOSTICS_MAX, Differences};

    #[test]
    fn faults_are_told_with_their_places_and_lines() {
        let place = Place::locate("\n\n      tokn = '*******'", 8..12);
        let diagnostic = Diagnostic {
            level: Level::Error,
            lint: None,
            file: "webhooks/a.toml".to_owned(),
            place: Some(place),
            problem: "unknown key `tokn`".to_owned(),
            fix: Some("did you mean `token`?".to_owned()),
        };
        let told = |result, count| Told {
            result,
            generation: 4,
            hash: "0123456789ab".into(),
            differences: Differences::default(),
            restart: Vec::new(),
            diagnostics: vec![diagnostic.clone(); count],
        };
        let problem = answer(&told(Reloaded::Refused, 1)).unwrap_err();
        assert_eq!(problem.detail(), "the configuration has 1 fault; generation 4 stays in force");
        let listed = json!([{ "level": "error", "file": "webhooks/a.toml", "line": 3, "column": 7,
            "problem": "unknown key `tokn`", "fix": "did you mean `token`?", "source": "      tokn = '*******'", "caret": "      ^^^^" }]);
        let expected =
            Problem::new(problem.status(), problem.detail()).with("generation", 4).with("hash", "0123456789ab");
        assert_eq!(problem, expected.with("diagnostics", listed).with("unlisted", 0));
        assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let many = answer(&told(Reloaded::Unchanged, DIAGNOSTICS_MAX + 2)).unwrap();
        assert_eq!((many["warnings"].as_array().map(Vec::len), &many["unlisted"]), (Some(DIAGNOSTICS_MAX), &json!(2)));
    }
}
