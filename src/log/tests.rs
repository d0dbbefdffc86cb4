#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::io;
use std::sync::Arc;

use serde_json::Value;

use super::*;

/// What was written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for &Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Written {
    type Writer = &'w Self;

    fn make_writer(&'w self) -> &'w Self {
        self
    }
}

impl Written {
    /// All lines so far, and none of them again.
    fn take(&self) -> Vec<Value> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn names(&self) -> Vec<String> {
        self.take().iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }
}

fn away(webhook: &str, error: &str, count: u64) {
    tracing::warn!(webhook, %error, count, "spool.settlement_refused");
}

/// Runs with a log of its own.
fn logged(level: Level, run: impl FnOnce(&Log, &Written)) {
    let (log, written) = (Log::new(level), Written::default());
    tracing::subscriber::with_default(log.json(written.clone()), || run(&log, &written));
}

#[test]
fn what_repeats_is_written_once_and_counted_when_its_window_ends() {
    logged(Level::INFO, |log, written| {
        for count in 0..100 {
            away("a", "no quorum", count);
            away("b", "no quorum", count);
        }
        away("a", "another", 1);
        assert_eq!(written.take().len(), 3, "each once, whatever it counts");
        log.tell(false);
        assert!(written.take().is_empty(), "the windows go on");
        let end = Instant::now() + collapse::WINDOW;
        let mut ended = log.0.lines.ended(end, false);
        ended.sort_by_key(|repeated| format!("{repeated:?}"));
        ended.iter().for_each(collapse::Repeated::tell);
        let lines = written.take();
        let told: Vec<_> =
            lines.iter().map(|line| (line["message"].as_str(), line["of"].as_str(), line["count"].as_u64())).collect();
        assert_eq!(told, [(Some("log.repeated"), Some("spool.settlement_refused"), Some(99)); 2]);
        assert_eq!(
            (&lines[0]["webhook"], &lines[0]["error"], &lines[0]["level"]),
            (&"a".into(), &"no quorum".into(), &"WARN".into())
        );

        // What goes on is counted on, and what was quiet for a window is written again.
        away("a", "no quorum", 1);
        away("a", "another", 1);
        assert_eq!(written.take().len(), 1, "the one that did not repeat");
        assert_eq!(log.0.lines.ended(end + collapse::WINDOW, false).len(), 1);
        assert!(log.0.lines.ended(end + 2 * collapse::WINDOW, false).is_empty());
        away("a", "no quorum", 1);
        assert_eq!(written.take().len(), 1);
    });
}

#[test]
fn another_level_tells_what_was_left_out_and_the_same_one_leaves_windows_alone() {
    logged(Level::INFO, |log, written| {
        away("a", "no quorum", 1);
        away("a", "no quorum", 1);
        assert_eq!(written.names(), ["spool.settlement_refused"]);
        log.configure(Level::INFO);
        log.set(None);
        away("a", "no quorum", 1);
        assert!(written.take().is_empty(), "a reload that changes no level ends no window");
        log.set(Some(Level::ERROR));
        let told = written.take();
        assert_eq!(told[0]["message"], "log.repeated");
        assert_eq!(told[0]["count"], 2);
    });
}

#[test]
fn what_happened_is_told_each_time_and_what_is_left_out_is_told_at_the_end() {
    logged(Level::INFO, |log, written| {
        for _ in 0..3 {
            tracing::warn!(event_id = "evt_1", webhook = "a", "delivery.attempted");
            tracing::warn!(webhook = "a", cause = "gone", "webhook.paused");
            tracing::error!(note = "x", "spool.panicked");
            tracing::info!(note = "x", "spool.away");
        }
        assert_eq!(written.take().len(), 12);
        for _ in 0..3 {
            tracing::error!(error = "x", "of.somebody_else");
        }
        log.flush();
        assert_eq!(written.names(), ["of.somebody_else", "log.repeated"]);
        log.flush();
        assert!(written.take().is_empty());
    });
}

#[test]
fn so_many_lines_are_known_and_what_comes_beyond_them_is_written() {
    logged(Level::INFO, |log, written| {
        for number in 0..1000 {
            away("a", &format!("{number} {}", "x".repeat(10_000)), 1);
        }
        assert_eq!(written.take().len(), 1000);
        away("a", "beyond", 1);
        away("a", "beyond", 1);
        away("a", &format!("7 {}", "x".repeat(10_000)), 1);
        assert_eq!(written.take().len(), 2);
        let ended = log.0.lines.ended(Instant::now(), true);
        assert!(ended.len() == 1 && format!("{ended:?}").len() < 1000, "a text is cut: {ended:?}");
    });
}

#[test]
fn the_level_changes_while_it_is_written_and_an_edit_counts_over_what_was_set() {
    logged(Level::WARN, |log, written| {
        let say = || {
            tracing::info!("spool.back");
            tracing::debug!(error = "x", "server.connection_ended");
        };
        say();
        assert!(written.take().is_empty());
        log.set(Some(Level::DEBUG));
        say();
        assert_eq!(written.names(), ["log.level_changed", "spool.back", "server.connection_ended"]);
        log.configure(Level::WARN);
        assert_eq!(log.levels(), Levels { configured: Level::WARN, set: Some(Level::DEBUG) }, "no edit");
        log.configure(Level::INFO);
        assert_eq!(log.levels(), Levels { configured: Level::INFO, set: None });
        say();
        assert_eq!(written.names(), ["log.level_changed", "spool.back"]);
        log.set(Some(Level::ERROR));
        log.set(None);
        log.set(None);
        let lines = written.take();
        let by = |at: usize| (lines[at]["from"].as_str(), lines[at]["to"].as_str(), lines[at]["by"].as_str());
        assert_eq!(
            (by(0), by(1)),
            ((Some("info"), Some("error"), Some("admin")), (Some("error"), Some("info"), Some("admin")))
        );
        assert_eq!(lines.len(), 2);
    });
}

#[test]
fn a_level_is_read_as_it_is_written() {
    for name in names() {
        assert_eq!(parse(name).map(super::name), Some(name));
    }
    assert_eq!((parse("loud"), parse("INFO"), parse("")), (None, None, None));
}

#[test]
fn text_has_the_same_fields() {
    let (log, written) = (Log::new(Level::INFO), Written::default());
    tracing::subscriber::with_default(log.text(written.clone(), false), || away("a", "no quorum", 7));
    let text = String::from_utf8(std::mem::take(&mut *written.0.lock().unwrap())).unwrap();
    assert!(text.ends_with("WARN spool.settlement_refused webhook=\"a\" error=no quorum count=7\n"), "{text}");
}
