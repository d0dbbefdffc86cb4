//! One request to the collector, by a connection of its own: there is one every few seconds, and no pool to look after.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::endpoint::Endpoint;
use super::message;
use crate::client::tls_config;
use crate::webhook::tls::Tls;

/// What is read of an answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where spans are posted.
pub(super) struct Collector {
    endpoint: Endpoint,
    tls: Option<TlsConnector>,
}

impl Collector {
    /// A collector that is not spoken to yet. The error is what is wrong with the authorities.
    pub(super) fn new(endpoint: Endpoint, ca_pem: Option<&str>) -> Result<Self, String> {
        let tls = if endpoint.uri.scheme_str() == Some("https") {
            let mut config = (*tls_config(ca_pem, &Tls::default()).map_err(|error| error.to_string())?).clone();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Some(TlsConnector::from(Arc::new(config)))
        } else {
            None
        };
        Ok(Self { endpoint, tls })
    }

    /// The attributes of this process.
    pub(super) fn resource(&self) -> &[(String, String)] {
        &self.endpoint.resource
    }

    /// Posts spans: how many were refused of those that were taken, or why none was.
    pub(super) async fn post(&self, body: Vec<u8>) -> Result<u64, String> {
        let uri = &self.endpoint.uri;
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let plain = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((plain, port)).await.map_err(|error| format!("{host}:{port}: {error}"))?;
        let Some(tls) = &self.tls else { return exchange(stream, self.request(uri, body)?).await };
        let name = ServerName::try_from(plain.to_owned()).map_err(|error| error.to_string())?;
        let stream = tls.connect(name, stream).await.map_err(|error| format!("{host}:{port}: {error}"))?;
        exchange(stream, self.request(uri, body)?).await
    }

    fn request(&self, uri: &Uri, body: Vec<u8>) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse().map_err(|_| "its path is none")?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("outrigger/", env!("CARGO_PKG_VERSION"))));
        headers.extend(self.endpoint.headers.iter().cloned());
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        headers.insert(HOST, HeaderValue::from_str(authority).map_err(|_| "its host is none")?);
        Ok(request)
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<u64, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let said = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
    // Whatever becomes of the request, its connection goes with it.
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let answer = sender.send_request(request).await.map_err(said)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    if !status.is_success() {
        return Err(format!("the collector answered {}", status.as_u16()));
    }
    Ok(body.map_or(0, |body| message::refused(&body.to_bytes())))
}
