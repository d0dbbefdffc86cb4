//! `outrigger resume NAME`: ends a webhook's pause.

use clap::Args;
use http::Method;

use super::ask::AskError;
use super::{Refused, Sidecar};
use crate::cli::run::block_on;
use crate::cli::{Answer, FINE, USAGE};

/// End a webhook's pause: its deliveries go on at once
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  outrigger resume slack\n  outrigger resume slack --admin http://127.0.0.1:8461\n\n\
    A pause ends by itself with the first probe that succeeds, and when the webhook's file or a secret of it changes.\n\
    Exits 0 when the webhook goes on, be it that it was not paused."
)]
pub(in crate::cli) struct Resume {
    /// The webhook
    name: String,
    #[command(flatten)]
    sidecar: Sidecar,
}

impl Resume {
    pub(in crate::cli) fn run(&self) -> Answer {
        let name = &self.name;
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) || name.is_empty() {
            let err = format!("outrigger: `{name}` is no name of a webhook: it is the stem of its file\n");
            return Answer { err, code: USAGE, ..Answer::default() };
        }
        match block_on(self.resume()).unwrap_or_else(|error| Err(Refused::no(format!("no runtime: {error}")))) {
            Ok(true) => Answer { out: format!("resumed {name}\n"), code: FINE, ..Answer::default() },
            Ok(false) => Answer { out: format!("{name} is not paused\n"), code: FINE, ..Answer::default() },
            Err(Refused { text, code }) => Answer { err: format!("outrigger: {text}\n"), code, ..Answer::default() },
        }
    }

    async fn resume(&self) -> Result<bool, Refused> {
        let server = self.sidecar.server(self.sidecar.settings().as_ref());
        let answer = server.ask(Method::POST, &format!("/api/v1/webhooks/{}/resume", self.name), None).await;
        let answer = answer.map_err(|error| match error {
            AskError::Nobody(error) => Refused::no(format!(
                "nothing listens on {}: {error}; a sidecar that does not run has no pauses, and one that listens elsewhere \
                 is found by --admin URL",
                server.address
            )),
            error => Refused::no(error.to_string()),
        })?;
        Ok(answer["resumed"] == true)
    }
}
