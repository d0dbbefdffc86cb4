//! One exchange: the request goes out on a connection of the pool or on one of its own, and its response is read within limits.

use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::header::{Entry, HOST};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri, Version};
use tokio::time::timeout_at;

use crate::delivery::{Failure, Reason};

use super::beside::is_sparse;
use super::connect::HTTPS_PORT;
use super::connection::{Body, Connection, Sent, Unanswered};
use super::failure::{Phase, classify, closed_early, is_connection_end};
use super::http2::Http2;
use super::pool::Found;
use super::{Client, Response, Wire};

/// What is known of an exchange when it is given up.
pub(super) struct Course {
    /// When it began.
    pub(super) begun: Instant,
    /// The connection that it used last, if others may use it too.
    pub(super) shared: Option<Arc<Http2>>,
}

impl Client {
    /// Sends a request and reads its response; `course` tells how far it came.
    pub(super) async fn exchange(
        &self,
        uri: &Uri,
        request: &mut Sent,
        bytes_max: usize,
        course: &mut Course,
    ) -> Result<Response, Failure> {
        let mut after = None;
        let (head, mut body, mut connection) = loop {
            let (mut connection, is_reused) = match https(uri).and_then(|authority| self.pool.take(authority, after)) {
                Some(connection) => (connection, true),
                None => Box::pin(self.open(uri, after)).await?,
            };
            // A request is kept where it may have to be sent again.
            let is_kept = after.is_none() && (is_reused || matches!(connection, Connection::Http2(_)));
            let sent = if is_kept { request.clone() } else { std::mem::take(request) };
            let answered = match &mut connection {
                Connection::Http1(connection) => {
                    let mut answer = pin!(connection.begin(in_origin_form(sent, uri)));
                    let answered = poll_fn(|cx| connection.poll_answer(answer.as_mut(), cx)).await;
                    answered.map(|answer| answer.map(Body::Http1)).map_err(Unanswered::from)
                }
                Connection::Http2(connection) => {
                    course.shared = Some(Arc::clone(connection));
                    Box::pin(connection.answer(sent)).await
                }
            };
            let failed = match answered {
                Ok(answer) => {
                    let (head, body) = answer.into_parts();
                    break (head, body, connection);
                }
                Err(failed) => failed,
            };
            if let Some(unsent) = failed.unsent.filter(|_| is_reused) {
                // The receiver had closed it, which was not known before.
                *request = unsent;
                uri.clone_into(request.uri_mut());
            } else if is_kept && was_stale(&connection, &*failed.error) {
                // One that was opened since cannot have been closed for having waited too long.
                after = Some(course.begun);
            } else {
                return Err(classify(host(uri), Phase::Head, &*failed.error));
            }
        };
        let (first_byte, opening) = (course.begun.elapsed(), connection.opening());
        let (body, truncated) = read(host(uri), head.version, &mut body, bytes_max, &mut connection).await?;
        let record = connection.record();
        record.complete();
        let wire = Wire { opening, first_byte };
        let certificate_expires = record.certificate_expires();
        match (connection, https(uri)) {
            (Connection::Http1(connection), Some(authority)) if !truncated => self.pool.put(authority, connection),
            (Connection::Http2(connection), Some(authority)) if is_sparse(&connection) => {
                self.open_beside(uri, authority);
            }
            _ => {}
        }
        Ok(Response { status: head.status, headers: head.headers, body, truncated, wire, certificate_expires })
    }

    /// A connection that was opened after this, and whether others may have used it.
    async fn open(&self, uri: &Uri, after: Option<Instant>) -> Result<(Connection, bool), Failure> {
        let Some(authority) = https(uri) else {
            return Err(Failure::new(Reason::NetworkError, format!("{} is asked for without https", host(uri))));
        };
        let mut has_waited = false;
        let dials = loop {
            match self.pool.find(authority, after, has_waited) {
                Found::Ready(connection) => return Ok((connection, true)),
                Found::Dial(dials) => break dials,
                // What comes before that time is a connection, or that nobody dials any more.
                Found::Wait(mut opened, until) => has_waited = timeout_at(until.into(), opened.changed()).await.is_ok(),
            }
        };
        let mut dialling = pin!(self.dial(uri, authority));
        let Some(dials) = dials else { return Ok((dialling.await?, false)) };
        let mut opened = dials.subscribe();
        loop {
            tokio::select! {
                biased;
                dialled = &mut dialling => return Ok((dialled?, false)),
                // Whoever else dials may have been faster.
                _ = opened.changed() => if let Some(connection) = self.pool.take(authority, after) {
                    return Ok((connection, true));
                },
            }
        }
    }

    async fn dial(&self, uri: &Uri, authority: &Authority) -> Result<Connection, Failure> {
        let socket = self.connector.connect(uri).await?;
        let connection = Connection::open(socket).await.map_err(|error| classify(host(uri), Phase::Head, &*error))?;
        self.pool.opened(authority, &connection);
        Ok(connection)
    }
}

/// The authority of a URL, where it is one of https.
pub(super) fn https(uri: &Uri) -> Option<&Authority> {
    uri.authority().filter(|_| uri.scheme() == Some(&Scheme::HTTPS))
}

/// The host that failures name.
pub(super) fn host(uri: &Uri) -> &str {
    uri.host().unwrap_or_default()
}

/// A request as HTTP/1.1 has it: what the connection goes to is told by a header, and the rest by the target (RFC 9112, section 3.2.1).
fn in_origin_form(mut request: Sent, uri: &Uri) -> Sent {
    *request.uri_mut() = match uri.path_and_query() {
        Some(target) if target != "/" => Uri::from(target.clone()),
        _ => Uri::default(),
    };
    if let Entry::Vacant(vacant) = request.headers_mut().entry(HOST) {
        let value = match uri.port_u16() {
            Some(port) if port != HTTPS_PORT => HeaderValue::from_maybe_shared(format!("{}:{port}", host(uri))),
            _ => HeaderValue::from_str(host(uri)),
        };
        // What can be the host of a URL can stand in a header.
        if let Ok(value) = value {
            vacant.insert(value);
        }
    }
    request
}

/// Whether a connection that others used before ended before any of the answer came: the receiver had most likely closed it before
/// the request was there. It is then kept from being used again.
fn was_stale(connection: &Connection, error: &(dyn Error + 'static)) -> bool {
    let record = connection.record();
    if !record.has_served() || !is_connection_end(error) {
        return false;
    }
    match connection {
        Connection::Http1(_) => record.is_silent_since(),
        // Where answers mingle, an error of this exchange says by itself that no head came.
        Connection::Http2(connection) => {
            connection.poison();
            true
        }
    }
}

/// Reads a body up to the limit. What lies beyond is never read: dropping the body closes its stream or connection.
async fn read(
    host: &str,
    version: Version,
    body: &mut Body,
    bytes_max: usize,
    connection: &mut Connection,
) -> Result<(Bytes, bool), Failure> {
    let mut read = BytesMut::new();
    while !body.is_end_stream()
        && let Some(frame) = poll_fn(|cx| connection.poll_frame(body, cx)).await
    {
        let frame = frame.map_err(|error| classify(host, Phase::Body, &*error))?;
        let Ok(data) = frame.into_data() else { continue };
        let room = bytes_max - read.len();
        if data.len() > room {
            read.extend_from_slice(data.get(..room).unwrap_or_default());
            return Ok((read.freeze(), true));
        }
        if read.is_empty() && body.is_end_stream() {
            return Ok((data, false));
        }
        read.extend_from_slice(&data);
    }
    // A stream that is reset without an error ends the reading, although the receiver did not say that this was all.
    if version == Version::HTTP_2 && !body.is_end_stream() {
        return Err(closed_early(host));
    }
    Ok((read.freeze(), false))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use http::Request;
    use http_body_util::Full;

    use super::*;

    #[test]
    fn over_http1_a_request_names_its_host_once_and_its_port_where_it_is_another() {
        let cases = [
            ("https://a.example", "/", "a.example"),
            ("https://a.example/", "/", "a.example"),
            ("https://a.example:443/x?y=1", "/x?y=1", "a.example"),
            ("https://a.example:8443?y=1", "/?y=1", "a.example:8443"),
            ("https://[::1]:444/x", "/x", "[::1]:444"),
            ("https://[::1]/x", "/x", "[::1]"),
        ];
        for (url, target, host) in cases {
            let uri: Uri = url.parse().unwrap();
            let sent = in_origin_form(Request::post(&uri).body(Full::default()).unwrap(), &uri);
            assert_eq!(
                (sent.uri().to_string().as_str(), &sent.headers()[HOST]),
                (target, &HeaderValue::from_static(host))
            );
            let given = Request::post(&uri).header(HOST, "b.example").body(Full::default()).unwrap();
            let sent = in_origin_form(given, &uri);
            assert_eq!(sent.headers().get_all(HOST).iter().collect::<Vec<_>>(), ["b.example"]);
        }
    }
}
