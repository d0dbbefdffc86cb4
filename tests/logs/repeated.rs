//! What repeats in the real process is written once, and counted.

use std::net::TcpStream;

use super::{assert_lines, lines, named};
use crate::support::{PATIENCE, eventually, sidecar};

/// File descriptors that the process may have.
const FILES: u32 = 60;

#[test]
fn a_system_that_gives_no_connections_is_told_of_once_and_counted() {
    let limited = format!("ulimit -n {FILES}; exec \"$@\"");
    let mut sidecar =
        sidecar().webhook("hook", "url = \"https://hooks.example.com/in\"").start_by(&["sh", "-c", &limited, "sh"]);
    let address = sidecar.address("ingest");
    let connections: Vec<TcpStream> = (0..2 * FILES).filter_map(|_| TcpStream::connect(address).ok()).collect();
    let told = eventually(PATIENCE, || named(&sidecar, "log.repeated").pop());
    let told = told.unwrap_or_else(|| panic!("{}", sidecar.log()));
    assert_eq!((&told["of"], &told["level"]), (&"server.accept_failed".into(), &"WARN".into()));
    assert!(told["count"].as_u64().is_some_and(|count| count > 1), "{told}");
    assert!(told["error"].as_str().is_some_and(|error| error.contains("open files")), "{told}");
    assert_eq!(named(&sidecar, "server.accept_failed").len(), 1, "{}", sidecar.log());
    drop(connections);
    // It goes on, and what was left out since is told at the end.
    assert!(eventually(PATIENCE, || (sidecar.post("/v1/events", "{}").status == 400).then_some(())).is_some());
    assert!(sidecar.terminate().success());
    assert_lines(&lines(&sidecar.log()));
}
