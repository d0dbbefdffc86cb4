//! The way to a target: name, guard, TCP, TLS.
//!
//! The addresses that come out of the name are judged right before they are dialled, and a literal address in a URL goes the
//! same way, so there is no path to a socket around the guard. A name is resolved once for a connection, and what was judged is
//! what is dialled: an answer that changes meanwhile is never looked at.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Uri;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::delivery::{Failure, Reason};
use crate::webhook::filter::Glob;

use super::guard::Guard;
use super::socket::{Opening, TlsSocket};
use super::tls;

/// Name, TCP and TLS together may take this long; the request's own limit may end it sooner.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// One address may take this long before the next one is dialled beside it, and one exchange that dials before another one does: the
/// recommended Connection Attempt Delay of RFC 8305, section 5.
pub(super) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// No more addresses of one name than these are dialled.
const ADDRESSES_MAX: usize = 6;
/// The port of a URL that names none.
pub(super) const HTTPS_PORT: u16 = 443;

/// Stand-ins for the network outside. Only code can fill them, never a configuration: they are for the demo and for tests.
#[derive(Clone, Default)]
pub struct Routes {
    /// Host names whose connections go to a socket of the caller's choice, past resolution and guard.
    pub hosts: BTreeMap<String, SocketAddr>,
    /// What names resolve to, asked for each connection in place of the system. The guard judges the answer.
    pub names: Option<Arc<Names>>,
    /// The sockets that are dialled in place of these addresses, once the guard has let them pass.
    pub addresses: BTreeMap<IpAddr, SocketAddr>,
}

/// The addresses of a name; none when it cannot be resolved.
pub type Names = dyn Fn(&str) -> Vec<IpAddr> + Send + Sync;

/// What opens connections; cheap to clone.
#[derive(Clone)]
pub(super) struct Connector(Arc<Ways>);

struct Ways {
    guard: Guard,
    allowed_hosts: Vec<Glob>,
    routes: Routes,
    tls: TlsConnector,
    /// The same for HTTP/1.1 alone.
    http1: TlsConnector,
    /// The name that is asked for in place of the host's.
    server_name: Option<ServerName<'static>>,
}

impl Connector {
    pub(super) fn new(
        guard: Guard,
        allowed_hosts: Vec<Glob>,
        routes: Routes,
        tls: Arc<rustls::ClientConfig>,
        server_name: Option<ServerName<'static>>,
    ) -> Self {
        let http1 = TlsConnector::from(tls::http1_alone(&tls));
        Self(Arc::new(Ways { guard, allowed_hosts, routes, tls: TlsConnector::from(tls), http1, server_name }))
    }

    /// Opens a connection to the host of an absolute URL.
    pub(super) async fn connect(&self, uri: &Uri) -> Result<TlsSocket, Failure> {
        self.connect_by(&self.0.tls, uri).await
    }

    /// The same for HTTP/1.1, whatever else the host speaks.
    pub(super) async fn connect_http1(&self, uri: &Uri) -> Result<TlsSocket, Failure> {
        self.connect_by(&self.0.http1, uri).await
    }

    async fn connect_by(&self, tls: &TlsConnector, uri: &Uri) -> Result<TlsSocket, Failure> {
        let host = bare_host(uri).to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(HTTPS_PORT);
        timeout(CONNECT_TIMEOUT, self.0.connect(tls, &host, port)).await.unwrap_or_else(|_| {
            let detail = format!("no connection to {host} within {} s", CONNECT_TIMEOUT.as_secs());
            Err(Failure::new(Reason::Timeout, detail))
        })
    }
}

impl Ways {
    async fn connect(&self, tls: &TlsConnector, host: &str, port: u16) -> Result<TlsSocket, Failure> {
        if !self.allowed_hosts.is_empty() && !self.allowed_hosts.iter().any(|glob| glob.matches(host)) {
            let detail = format!("{host} is not among egress.allowed_hosts");
            return Err(Failure::new(Reason::BlockedAddress, detail));
        }
        if !self.guard.allows_port(port) {
            let detail = format!("{host} is asked for on port {port}; to reach it, add {port} to egress.allow_ports");
            return Err(Failure::new(Reason::BlockedAddress, detail));
        }
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(|_| {
                Failure::new(Reason::TlsError, format!("{host} is no name that a certificate can have"))
            })?,
        };
        let begun = Instant::now();
        let addresses = match self.routes.hosts.get(host) {
            Some(address) => vec![*address],
            None => self.permitted(host, self.resolve(host, port).await?)?,
        };
        let resolved = Instant::now();
        let tcp = dial(host, &addresses).await?;
        let connected = Instant::now();
        // Without it small requests wait for the acknowledgement of the one before; a socket that refuses it still works.
        let _ = tcp.set_nodelay(true);
        let stream = tls.connect(name, tcp).await.map_err(|error| handshake_error(host, &error))?;
        let opening = Opening { dns: resolved - begun, connect: connected - resolved, tls: connected.elapsed() };
        Ok(TlsSocket::new(stream, opening))
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(literal) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(literal, port)]);
        }
        if let Some(names) = &self.routes.names {
            return Ok(names(host).into_iter().map(|address| SocketAddr::new(address, port)).collect());
        }
        match tokio::net::lookup_host((host, port)).await {
            Ok(addresses) => Ok(addresses.collect()),
            Err(_) => Err(Failure::new(Reason::DnsError, format!("the name {host} could not be resolved"))),
        }
    }

    /// The addresses that the guard lets pass, families taking turns; an error when there is none.
    fn permitted(&self, host: &str, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Failure> {
        let mut refused = None;
        let mut passed = Vec::with_capacity(addresses.len());
        for mut address in addresses {
            // IPv4 in the form of IPv6 is dialled as what it is judged as.
            address.set_ip(address.ip().to_canonical());
            match self.guard.refusal(address.ip()) {
                None => passed.push(*self.routes.addresses.get(&address.ip()).unwrap_or(&address)),
                Some(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        match (passed.is_empty(), refused) {
            (true, Some(refusal)) => {
                let literal = host.parse::<IpAddr>().is_ok();
                let which = if literal { String::new() } else { format!("is {}, which ", refusal.address) };
                Err(Failure::new(Reason::BlockedAddress, format!("{host} {which}{refusal}")))
            }
            (true, None) => Err(Failure::new(Reason::DnsError, format!("{host} has no address"))),
            (false, _) => Ok(take_turns(passed)),
        }
    }
}

/// The host without the brackets of an IPv6 literal.
fn bare_host(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host)
}

/// Keeps the resolver's order within a family and lets the families take turns, so that a broken one costs a single attempt.
fn take_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut ordered: Vec<_> = first.into_iter().flat_map(|address| [Some(address), second.next()]).flatten().collect();
    ordered.extend(second);
    ordered.truncate(ADDRESSES_MAX);
    ordered
}

/// Dials one address after the other, each as soon as the one before has failed or has taken its time, and lets those that were dialled go
/// on until one is reached (RFC 8305, section 5). Answers with the failure that came last.
async fn dial(host: &str, addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
    let mut failure = Failure::new(Reason::DnsError, format!("{host} has no address"));
    let mut attempts = JoinSet::new();
    let mut addresses = addresses.iter().copied();
    loop {
        let next = addresses.next();
        if let Some(address) = next {
            attempts.spawn(async move { TcpStream::connect(address).await.map_err(|error| (address, error.kind())) });
        }
        let limit = if addresses.len() > 0 { ATTEMPT_DELAY } else { CONNECT_TIMEOUT };
        match timeout(limit, attempts.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err((address, kind))))) => failure = dial_error(host, address, kind),
            Ok(None) => return Err(failure),
            // It takes its time, or was ended with its runtime.
            Ok(Some(Err(_))) | Err(_) => {}
        }
    }
}

fn dial_error(host: &str, address: SocketAddr, kind: io::ErrorKind) -> Failure {
    let (reason, what) = match kind {
        io::ErrorKind::ConnectionRefused => (Reason::ConnectionRefused, "refused the connection"),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            (Reason::ConnectionReset, "reset the connection")
        }
        io::ErrorKind::TimedOut => (Reason::Timeout, "did not accept a connection in time"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            (Reason::NetworkError, "cannot be reached from here")
        }
        _ => (Reason::NetworkError, "could not be connected to"),
    };
    Failure::new(reason, format!("{host} ({address}) {what}"))
}

fn handshake_error(host: &str, error: &io::Error) -> Failure {
    if let Some(cause) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Failure::new(Reason::TlsError, format!("{host} {}", tls::explain(cause)));
    }
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            Failure::new(Reason::ConnectionReset, format!("{host} closed the connection during the TLS handshake"))
        }
        _ => Failure::new(Reason::NetworkError, format!("the TLS handshake with {host} broke off")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;
    use crate::webhook::tls::Tls;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns_and_the_list_is_bounded() {
        let given = addresses(&["[2600::1]:1", "[2600::2]:1", "[2600::3]:1", "1.1.1.1:1", "1.1.1.2:1"]);
        let expected = addresses(&["[2600::1]:1", "1.1.1.1:1", "[2600::2]:1", "1.1.1.2:1", "[2600::3]:1"]);
        assert_eq!(take_turns(given), expected);
        let many: Vec<_> = (1..=40_u16).map(|port| SocketAddr::from(([1, 1, 1, 1], port))).collect();
        assert_eq!(take_turns(many).len(), ADDRESSES_MAX);
    }

    /// What drops all that comes: one connection waits to be accepted, and there is room for no more.
    async fn full() -> (SocketAddr, TcpListener, TcpStream) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let waiting = TcpStream::connect(address).await.unwrap();
        assert!(timeout(ATTEMPT_DELAY, TcpStream::connect(address)).await.is_err(), "there was room");
        (address, listener, waiting)
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_or_refuses_delays_the_next_one_for_a_moment_only() {
        let (full, _listener, _waiting) = full().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (good, refused) = (listener.local_addr().unwrap(), SocketAddr::from(([127, 0, 0, 1], 1)));
        for addresses in [vec![full, full, full, full, full, good], vec![refused, good], vec![good, full]] {
            let reached = timeout(CONNECT_TIMEOUT / 2, dial("a.example", &addresses)).await.unwrap();
            assert_eq!(reached.unwrap().peer_addr().unwrap(), good);
        }
        let failure = dial("a.example", &[refused, refused]).await.unwrap_err();
        assert_eq!(failure.reason, Reason::ConnectionRefused);
        assert_eq!(dial("a.example", &[]).await.unwrap_err().reason, Reason::DnsError);
    }

    #[test]
    fn one_public_address_among_private_ones_is_the_only_one_dialled() {
        let tls = tls::tls_config(None, &Tls::default()).unwrap();
        let connector = Connector::new(Guard::default(), Vec::new(), Routes::default(), tls, None);
        let given = addresses(&["10.0.0.1:443", "1.1.1.1:443", "[::1]:443"]);
        assert_eq!(connector.0.permitted("mixed.example", given).unwrap(), addresses(&["1.1.1.1:443"]));
    }

    #[test]
    fn a_refused_address_is_named_with_its_network_and_the_key_to_set() {
        let tls = tls::tls_config(None, &Tls::default()).unwrap();
        let connector = Connector::new(Guard::default(), Vec::new(), Routes::default(), tls, None);
        let failure = connector.0.permitted("x.example", addresses(&["10.0.0.1:443"])).unwrap_err();
        assert_eq!(failure.reason, Reason::BlockedAddress);
        let sentence = "x.example is 10.0.0.1, which is a private address; to reach it, add \"10.0.0.1/32\" to egress.allow_networks";
        assert_eq!(failure.detail, sentence);
    }

    #[test]
    fn the_brackets_of_an_address_are_no_part_of_it() {
        assert_eq!(bare_host(&Uri::from_static("https://[::1]:8443/x")), "::1");
        assert_eq!(bare_host(&Uri::from_static("https://a.example/x")), "a.example");
    }
}
