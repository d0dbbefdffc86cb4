//! Dead letters that are replayed through the admin API.

use serde_json::{Value, json};

use crate::oracle::history::Burial;
use crate::oracle::webhooks::{LEAVING, SPECS};
use crate::support::http;

use super::Conductor;

/// Letters that are replayed at once.
const REPLAYED_MAX: usize = 20;

impl Conductor {
    /// Dead letters are replayed while everything goes on.
    pub(super) fn replay(&mut self) {
        let page = self.ask("GET", "/api/v1/dead-letters?order=oldest&limit=200", "");
        let mut letters = page["dead_letters"].as_array().cloned().expect("a list");
        // What was removed a moment ago cannot be replayed, and when that is so again depends on the reload.
        letters.retain(|letter| letter["webhook"] != SPECS[LEAVING].name);
        self.chance.shuffle(&mut letters);
        letters.truncate(REPLAYED_MAX);
        if letters.is_empty() {
            return;
        }
        let burials: Vec<Burial> = letters.iter().map(|letter| self.burial(letter)).collect();
        let ids: Vec<&str> = burials.iter().map(|burial| burial.id.as_str()).collect();
        let asked = self.world.now();
        let answer = self.ask("POST", "/api/v1/dead-letters/replay", &json!({ "ids": ids }).to_string());
        assert_eq!(answer["replayed"], ids.len(), "only the conductor takes letters away: {answer}");
        self.count("replayed");
        let replays: Vec<_> = ids.iter().map(|id| ((*id).to_owned(), asked)).collect();
        let mut history = self.world.history();
        history.replays.extend(replays);
        history.burials.extend(burials);
    }

    /// A letter of the list, with what its event says.
    fn burial(&self, letter: &Value) -> Burial {
        let id = letter["id"].as_str().expect("an id").to_owned();
        let whole = self.ask("GET", &format!("/api/v1/dead-letters/{id}"), "");
        let died = letter["died_at"].as_str().and_then(|text| text.parse().ok()).expect("a time");
        Burial {
            number: whole.pointer("/payload/data/number").and_then(Value::as_u64),
            id,
            reason: letter["reason"].as_str().expect("a reason").to_owned(),
            attempts: letter["attempts"].as_u64().and_then(|count| count.try_into().ok()).expect("a number"),
            at: self.world.moment_of(died),
        }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let address = self.sidecar.address("admin");
        let headers = [("host", &*address.to_string()), ("outrigger-request", "1")];
        let answer = http::exchange(address, method, path, &headers, body.as_bytes());
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.sidecar.log()));
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
        answer.json()
    }
}
