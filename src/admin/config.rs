//! `GET /api/v1/config`: which configuration is in force, since when, and what the last look at its files came to.

use std::path::Path;

use serde_json::{Value, json};

use crate::diagnostic::{Diagnostic, Place};
use crate::live::Live;
use crate::reload::{DIAGNOSTICS_MAX, LastLook};

/// What is in force, and the last look.
pub(super) fn show(live: &Live, folder: &Path, last: Option<&LastLook>) -> Value {
    json!({
        "generation": live.generation,
        // A change that means nothing is published by no look, and is a state of the files all the same.
        "hash": last.map_or(live.snapshot.hash.as_str(), |last| &last.hash),
        "published_at": live.published_at.to_string(),
        "folder": folder.display().to_string(),
        "last_look": last.map(look),
    })
}

fn look(last: &LastLook) -> Value {
    json!({
        "at": last.at.to_string(),
        "result": last.result.as_str(),
        "diagnostics": last.diagnostics.iter().map(diagnostic).collect::<Vec<_>>(),
        "unlisted": last.unlisted,
    })
}

/// The first diagnostics, and how many there are beyond them.
pub(super) fn listed(diagnostics: &[Diagnostic]) -> (Vec<Value>, usize) {
    let first = diagnostics.iter().take(DIAGNOSTICS_MAX).map(diagnostic).collect();
    (first, diagnostics.len().saturating_sub(DIAGNOSTICS_MAX))
}

/// One diagnostic with its line, in which the look has masked what is secret, and what points at the place in it.
fn diagnostic(diagnostic: &Diagnostic) -> Value {
    let place = diagnostic.place.as_ref();
    let line = place.filter(|place| !place.text.is_empty());
    json!({
        "level": diagnostic.level.as_str(),
        "file": diagnostic.file,
        "line": place.map(|place| place.line),
        "column": place.map(|place| place.column),
        "problem": diagnostic.problem,
        "fix": diagnostic.fix,
        "source": line.map(Place::source),
        "caret": line.map(Place::caret),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Level;
    use crate::metrics::Reloaded;

    #[test]
    fn a_look_is_told_with_its_lines_and_what_points_at_the_places() {
        let fault = Diagnostic {
            level: Level::Error,
            lint: None,
            file: "webhooks/a.toml".to_owned(),
            place: Some(Place::locate("\n\n\ttokn = '***'", 3..7)),
            problem: "unknown key `tokn`".to_owned(),
            fix: Some("did you mean `token`?".to_owned()),
        };
        let whole = Diagnostic { place: None, fix: None, ..fault.clone() };
        let at = jiff::Timestamp::UNIX_EPOCH;
        let (result, hash) = (Reloaded::Refused, "0123456789ab".into());
        let last = LastLook { at, result, hash, diagnostics: vec![fault, whole], unlisted: 3 };
        let expected = json!({ "at": "1970-01-01T00:00:00Z", "result": "refused", "unlisted": 3, "diagnostics": [
            { "level": "error", "file": "webhooks/a.toml", "line": 3, "column": 2, "problem": "unknown key `tokn`",
              "fix": "did you mean `token`?", "source": " tokn = '***'", "caret": " ^^^^" },
            { "level": "error", "file": "webhooks/a.toml", "line": null, "column": null, "problem": "unknown key `tokn`",
              "fix": null, "source": null, "caret": null },
        ] });
        assert_eq!(look(&last), expected);
    }
}
