//! HTTP/2 by hand, as far as a receiver needs it that breaks its rules on purpose.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

const PREFACE_BYTES: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status` in the static table, as a literal that is not indexed.
const STATUS: u8 = 8;

/// The codes of a reset stream and of a connection's end.
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CODE_MAX: u32 = 13;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A head with this status and these headers; the name and value of each are shorter than 127 bytes.
pub(crate) fn headers(stream: u32, status: u16, fields: &[(&str, &str)], ends: bool) -> Vec<u8> {
    let literal = |text: &str| {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text");
        [&[length], text.as_bytes()].concat()
    };
    let mut block = [vec![STATUS], literal(&status.to_string())].concat();
    for (name, value) in fields {
        block.extend([vec![0], literal(name), literal(value)].concat());
    }
    frame(HEADERS, END_HEADERS | if ends { END_STREAM } else { 0 }, stream, &block)
}

pub(crate) fn data(stream: u32, bytes: &[u8], ends: bool) -> Vec<u8> {
    frame(DATA, if ends { END_STREAM } else { 0 }, stream, bytes)
}

pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// No stream above `last` was processed.
pub(crate) fn go_away(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// Reads the client's preface and sends the settings that every connection begins with.
pub(super) async fn open(stream: &mut TlsStream<TcpStream>) -> Option<()> {
    stream.read_exact(&mut [0; PREFACE_BYTES]).await.ok()?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.ok()?;
    stream.flush().await.ok()
}

/// Reads until a request is complete and gives its stream; answers settings and pings on the way.
pub(super) async fn read_request(stream: &mut TlsStream<TcpStream>) -> Option<u32> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, l0, l1, l2]) as usize];
        stream.read_exact(&mut payload).await.ok()?;
        match kind {
            HEADERS | DATA if flags & END_STREAM != 0 => return Some(u32::from_be_bytes([s0, s1, s2, s3])),
            SETTINGS if flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await.ok()?,
            PING if flags & ACK == 0 => stream.write_all(&frame(PING, ACK, 0, &payload)).await.ok()?,
            _ => {}
        }
        stream.flush().await.ok()?;
    }
}

#[test]
fn a_frame_is_its_length_kind_flags_stream_and_payload() {
    assert_eq!(reset(3, REFUSED_STREAM), [0, 0, 4, 3, 0, 0, 0, 0, 3, 0, 0, 0, 7]);
    assert_eq!(headers(1, 204, &[], true), [0, 0, 5, 1, 5, 0, 0, 0, 1, 8, 3, b'2', b'0', b'4']);
    assert_eq!(headers(1, 200, &[("a", "b")], false)[3..5], [HEADERS, END_HEADERS]);
}
