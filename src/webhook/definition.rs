//! What a webhook was compiled from, kept so that people see what is in force and not what is on the disk by now.

use std::sync::Arc;

use crate::secret::Secret;

/// A webhook's own file and the file of its body. Secrets may be typed in both, so neither can be printed: `config` knows how they
/// are shown.
#[derive(Debug)]
pub struct Definition {
    /// The file, as a path from the configuration folder: `webhooks/slack.toml`.
    pub file: String,
    /// What stood in it.
    pub text: Secret,
    /// `body_file`, where the body has one.
    pub body_file: Option<BodyFile>,
}

/// A file that a body was compiled from.
#[derive(Debug)]
pub struct BodyFile {
    /// How the webhook's file names it, from its own folder.
    pub name: String,
    /// What stood in it; webhooks that name the same file share it.
    pub text: Arc<Secret>,
}
