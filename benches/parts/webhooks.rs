//! Webhooks of benches, compiled from their texts as those of files are.
#![allow(dead_code, reason = "no bench needs all of it")]

use std::fs;
use std::sync::Arc;

use outrigger::config::{Snapshot, Source, load};

/// The configuration of webhooks with these texts, which are called `hook-0` and so on.
pub(crate) fn configuration<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Snapshot {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("webhooks")).expect("a folder");
    for (number, text) in texts.into_iter().enumerate() {
        fs::write(folder.path().join(format!("webhooks/hook-{number}.toml")), text.as_ref()).expect("a file");
    }
    let source = Source { env: Arc::new(|_| None), ..Source::new(folder.path()) };
    let loaded = load(&source);
    loaded.snapshot.unwrap_or_else(|| panic!("the configuration has faults: {:?}", loaded.diagnostics.first()))
}

/// One that fits the granted request if `wanting`, with a filter that holds.
pub(crate) fn filtered(number: usize, wanting: bool) -> String {
    let trigger = if wanting { "RequestGranted" } else { "RequestCreated" };
    format!(
        "url = \"https://hooks.example.com/{number}\"\ntriggers = [\"{trigger}\"]\n\
         body = '{{\"id\":\"{{{{data.id}}}}\",\"who\":\"{{{{data.requester.email}}}}\"}}'\n\
         [[filters]]\nfield = \"integration\"\nany_of = [\"prod-*\"]\n"
    )
}
