//! A name server that knows one name.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The types of an address of either kind, and the class of the internet.
const A: [u8; 4] = [0, 1, 0, 1];
const AAAA: [u8; 4] = [0, 28, 0, 1];

/// Answers on port 53 of 127.0.0.1 that this name is 127.0.0.1, and that there is no other; how often it was asked for the name.
pub(super) fn serve(name: &str) -> Arc<AtomicUsize> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).expect("port 53, in a network of one's own");
    let mut known = Vec::new();
    for label in name.split('.') {
        known.push(u8::try_from(label.len()).expect("a label"));
        known.extend(label.bytes());
    }
    known.push(0);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let Some(answer) = answer(&query[..length], &known) else { continue };
            if answer[3] == 0x80 {
                count.fetch_add(1, Ordering::SeqCst);
            }
            let _ = socket.send_to(&answer, from);
        }
    });
    asked
}

/// The answer to a query with one question (RFC 1035, 4.1).
fn answer(query: &[u8], known: &[u8]) -> Option<Vec<u8>> {
    let (head, rest) = query.split_at_checked(12)?;
    let end = rest.iter().position(|byte| *byte == 0)? + 1;
    let (name, kind) = (rest.get(..end)?, rest.get(end..end + 4)?);
    let is_known = name.eq_ignore_ascii_case(known);
    let found = u8::from(is_known && kind == A);
    // An answer, with recursion; NXDOMAIN is 3.
    let code = if is_known { 0 } else { 3 };
    let mut answer = vec![head[0], head[1], 0x81, 0x80 | code, 0, 1, 0, found, 0, 0, 0, 0];
    answer.extend([name, kind].concat());
    if found == 1 {
        // The name of the question, its type, 60 s, four bytes.
        answer.extend([[0xc0, 12].as_slice(), &A, &[0, 0, 0, 60, 0, 4, 127, 0, 0, 1]].concat());
    }
    Some(answer)
}

#[test]
fn one_name_has_an_address_and_no_other() {
    let known = b"\x05hooks\x04test\x00";
    let ask = |name: &[u8], kind: [u8; 4]| {
        let query = [b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".as_slice(), name, &kind].concat();
        answer(&query, known).expect("an answer")
    };
    let found = ask(b"\x05HOOKS\x04test\x00", A);
    assert_eq!((found[3], found[7], &found[found.len() - 4..]), (0x80, 1, [127, 0, 0, 1].as_slice()));
    assert_eq!((ask(known, AAAA)[3], ask(known, AAAA)[7]), (0x80, 0));
    assert_eq!(ask(b"\x05other\x04test\x00", A)[3], 0x83);
    assert!(answer(b"short", known).is_none());
}
