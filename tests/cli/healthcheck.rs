//! `outrigger healthcheck` against a listener that answers as it is told.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use crate::support::process::Ended;
use crate::support::sidecar;
use crate::support::sidecar::Written;

/// Runs it while a listener answers one request with this status.
fn ask(listener: &TcpListener, written: &Written, status: &str) -> Ended {
    let listener = listener.try_clone().expect("a handle");
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let answering = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut head = [0; 1024];
        let read = stream.read(&mut head).expect("a request");
        stream.write_all(answer.as_bytes()).expect("an answer");
        String::from_utf8_lossy(&head[..read]).into_owned()
    });
    let ended = written.run(&["healthcheck"]);
    if ended.stderr.contains("nothing answers") {
        return ended;
    }
    assert!(answering.join().expect("no panic").starts_with("GET /readyz HTTP/1.1\r\n"));
    ended
}

#[test]
fn an_edit_that_broke_a_webhook_is_no_reason_to_call_the_sidecar_ill() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let written = sidecar()
        .setting(&format!("metrics.listen = '{address}'"))
        .webhook("hook", "url = 'https://example.com/'\nbody = '{}'\n")
        .write();
    let ready = ask(&listener, &written, "200 OK");
    assert_eq!((ready.status.code(), ready.stdout.as_str()), (Some(0), "ready"), "{ready:?}");
    written.write_webhook("hook", "url = ");
    let ready = ask(&listener, &written, "200 OK");
    assert_eq!(ready.status.code(), Some(0), "{ready:?}");
    let closing = ask(&listener, &written, "503 Service Unavailable");
    assert_eq!(closing.status.code(), Some(1), "{closing:?}");
    assert!(closing.stderr.contains("503"), "{closing:?}");
    drop(listener);
    let gone = written.run(&["healthcheck"]);
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
    assert!(gone.stderr.contains(&address.to_string()) && gone.stderr.contains("--address"), "{gone:?}");
}
