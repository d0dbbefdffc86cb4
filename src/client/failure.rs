//! What a failed exchange is called. Causes are found by their types, never by their text.

use std::error::Error;
use std::io;

use crate::delivery::{Failure, Reason};

use super::tls;

/// Where in the exchange it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before the response's head was complete.
    Head,
    /// While the response's body was read.
    Body,
}

/// The failure behind an error of a connection or of a response's body.
pub(super) fn classify(host: &str, phase: Phase, error: &(dyn Error + 'static)) -> Failure {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(failure) = known(host, error) {
            return failure;
        }
        cause = error.source();
    }
    match phase {
        Phase::Head => Failure::new(Reason::NetworkError, format!("the exchange with {host} failed")),
        // A head came, so the receiver speaks HTTP: what is left is a body that did not come to its end.
        Phase::Body => closed_early(host),
    }
}

fn known(host: &str, error: &(dyn Error + 'static)) -> Option<Failure> {
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return from_hyper(host, error);
    }
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        return from_h2(host, error);
    }
    error.downcast_ref::<io::Error>().and_then(|error| from_io(host, error))
}

fn from_hyper(host: &str, error: &hyper::Error) -> Option<Failure> {
    if error.is_parse_too_large() {
        return Some(Failure::new(Reason::NetworkError, format!("{host} answered with a head that is too large")));
    }
    if error.is_parse() {
        return Some(Failure::new(Reason::NetworkError, format!("{host} answered with something that is not HTTP")));
    }
    if error.is_timeout() {
        return Some(Failure::new(Reason::Timeout, format!("{host} stopped answering on an open connection")));
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return Some(closed_early(host));
    }
    None
}

fn from_h2(host: &str, error: &h2::Error) -> Option<Failure> {
    match (error.get_io(), error.reason()) {
        (Some(error), _) => from_io(host, error),
        (None, Some(reason)) if error.is_remote() => {
            let detail = format!("{host} ended the exchange before its answer was complete (HTTP/2 {reason:?})");
            Some(Failure::new(Reason::ConnectionReset, detail))
        }
        _ => None,
    }
}

fn from_io(host: &str, error: &io::Error) -> Option<Failure> {
    if let Some(cause) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Some(Failure::new(Reason::TlsError, format!("{host} {}", tls::explain(cause))));
    }
    match error.kind() {
        kind if is_end(kind) => Some(closed_early(host)),
        io::ErrorKind::TimedOut => {
            Some(Failure::new(Reason::Timeout, format!("{host} stopped answering on an open connection")))
        }
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            Some(Failure::new(Reason::NetworkError, format!("{host} answered with something that is not HTTP")))
        }
        _ => None,
    }
}

/// Whether an error says that the connection ended, or that the receiver did not take the request up, so that it may
/// be sent again on another. What ran into a limit of time does not count.
pub(super) fn is_connection_end(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
                return true;
            }
        } else if let Some(error) = error.downcast_ref::<h2::Error>() {
            // A GOAWAY ends as errors those streams alone that it says were not processed.
            let refused = error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM);
            return error.get_io().map_or(error.is_remote() && refused, |error| is_end(error.kind()));
        } else if let Some(error) = error.downcast_ref::<io::Error>() {
            return is_end(error.kind());
        }
        cause = error.source();
    }
    false
}

/// What a socket says when the other side has closed or reset the connection.
fn is_end(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof
    )
}

/// The failure of an exchange whose connection ended in the middle.
pub(super) fn closed_early(host: &str) -> Failure {
    Failure::new(Reason::ConnectionReset, format!("{host} closed the connection before its answer was complete"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_an_io_error_decides_its_reason() {
        let cases = [
            (io::ErrorKind::ConnectionReset, Reason::ConnectionReset),
            (io::ErrorKind::BrokenPipe, Reason::ConnectionReset),
            (io::ErrorKind::UnexpectedEof, Reason::ConnectionReset),
            (io::ErrorKind::TimedOut, Reason::Timeout),
            (io::ErrorKind::InvalidData, Reason::NetworkError),
            (io::ErrorKind::OutOfMemory, Reason::NetworkError),
        ];
        for (kind, reason) in cases {
            assert_eq!(classify("a.example", Phase::Head, &io::Error::from(kind)).reason, reason, "{kind:?}");
        }
    }

    #[test]
    fn a_tls_error_inside_an_io_error_is_found() {
        let error = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError);
        assert_eq!(classify("a.example", Phase::Head, &error).reason, Reason::TlsError);
    }
}
