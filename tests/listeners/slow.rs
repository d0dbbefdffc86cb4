//! Slow clients of the real program, beside which others are served. How each of them ends stands with the listener's own tests.

#![allow(clippy::print_stdout, reason = "how long others waited is worth a look")]

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Instant;

use super::{EVENT, hook};
use crate::support::sidecar::Sidecar;
use crate::support::{PATIENCE, eventually, receiver, sidecar};

/// More than one listener serves at the same time.
const CONNECTIONS: usize = 600;
/// What a sidecar may take with all seats of a listener taken: the examples for Kubernetes give it 96 MiB.
const RESIDENT_KIB_MAX: usize = 80 * 1024;

fn resident_kib(sidecar: &Sidecar) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", sidecar.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn six_hundred_clients_that_stall_keep_nobody_out_and_cost_little() {
    let large_head = format!("POST /v1/events HTTP/1.1\r\nhost: localhost\r\nx-large: {}", "x".repeat(15 * 1024));
    let stalls: [(&str, &[u8]); 4] = [
        ("nothing", b""),
        ("half a head", b"POST /v1/events HTTP/1.1\r\nho"),
        ("half a body", b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{"),
        ("most of a large head", large_head.as_bytes()),
    ];
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    let before = resident_kib(&sidecar);
    for (what, bytes) in stalls {
        let stalled: Vec<TcpStream> = (0..CONNECTIONS)
            .map(|_| {
                let stream = TcpStream::connect(sidecar.address("ingest")).expect("it listens");
                stream.set_nonblocking(true).expect("a socket");
                // What the other side does not read is not waited for.
                let _ = (&stream).write(bytes);
                stream
            })
            .collect();
        let begun = Instant::now();
        assert_eq!(sidecar.post("/v1/events", EVENT).status, 202, "{what}");
        println!("{what}: served after {} ms, {} KiB", begun.elapsed().as_millis(), resident_kib(&sidecar));
        assert!(resident_kib(&sidecar) < RESIDENT_KIB_MAX, "{what}: {before} became {} KiB", resident_kib(&sidecar));
        // Others are left alone.
        assert_eq!(sidecar.get("metrics", "/readyz").status, 200, "{what}");
        drop(stalled);
    }
    assert_eq!(target.wait(stalls.len()).len(), stalls.len());
    let told = eventually(PATIENCE, || sidecar.log().contains("all connections are taken").then_some(()));
    assert!(told.is_some(), "{}", sidecar.log());
    assert_eq!(sidecar.log().matches("all connections are taken").count(), 1, "once a minute");
}
