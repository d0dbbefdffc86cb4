//! The configuration of the sidecar that is measured.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The body that everybody renders: eight fields of an event.
pub(crate) const BODY: &str = r#"{"fields":{"request":"{{data.id}}","number":"{{data.friendly_id}}","what happened":"{{event_type}}","requester":"{{data.requester.email}}","reason":"{{data.justification}}","integration":"{{data.access_groups.[0].[integration].name}}","kind of resource":"{{data.access_groups.[0].[resource_types].[0].name}}","resource":"{{data.access_groups.[0].access_units.[0].resource.name}}"}}"#;
/// Deliveries at the same time: of one webhook, and about as many of several together.
pub(crate) const SLOTS: usize = 64;
/// Deliveries of a webhook at the same time, at least: as many as it has where nothing is said.
const SLOTS_MIN: usize = 8;
/// The event type that starts the webhooks whose deliveries are counted.
pub(crate) const TYPE: &str = "AccessRequestGranted";

/// One file of `webhooks/`: its name and its text.
pub(crate) type File = (String, String);

/// So many webhooks that want the events, with one validator each.
pub(crate) fn webhooks(port: u16, count: usize) -> Vec<File> {
    let slots = (SLOTS / count).max(SLOTS_MIN);
    (0..count).map(|number| (format!("hook-{number}"), text(port, &format!("hook/{number}"), TYPE, slots))).collect()
}

/// The same for any path and event type.
pub(crate) fn text(port: u16, path: &str, event_type: &str, slots: usize) -> String {
    format!(
        "url = \"https://127.0.0.1:{port}/{path}\"\ntriggers = [\"{event_type}\"]\nordering = \"none\"\nbody = '''{BODY}'''\n\
         [limits]\nconcurrency = {slots}\n[[response_validators]]\npath = \"$.status\"\nexpected = [\"200\"]\n"
    )
}

/// Writes a configuration below `root`, with its spool beside it.
pub(crate) fn write(root: &Path, ca_file: &Path, port: u16, webhooks: &[File]) {
    let mut settings = String::new();
    for listener in ["ingest", "admin", "metrics"] {
        let _ = writeln!(settings, "{listener}.listen = \"127.0.0.1:0\"");
    }
    let _ = write!(
        settings,
        "log.level = \"warn\"\n[spool]\npath = '{}'\n[egress]\nallow_ports = [{port}]\nallow_networks = [\"127.0.0.0/8\"]\nca_file = '{}'\n",
        root.join("spool").display(),
        ca_file.display()
    );
    fs::create_dir_all(root.join("webhooks")).expect("a folder");
    fs::write(root.join("outrigger.toml"), settings).expect("a file");
    for (name, text) in webhooks {
        fs::write(root.join(format!("webhooks/{name}.toml")), text).expect("a file");
    }
}
