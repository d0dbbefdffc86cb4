//! Scripted TLS receivers for tests without a runtime of their own.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::LazyLock;

use outrigger::cli::demo::answer::Answer;
use outrigger::cli::demo::authority::Authority;
use outrigger::cli::demo::receiver::{Receiver, Recorded};
use tokio::runtime::Runtime;

use super::PATIENCE;

/// The authority that every receiver's certificate is from and every sidecar trusts.
pub(crate) static AUTHORITY: LazyLock<Authority> =
    LazyLock::new(|| Authority::new().expect("a certificate authority needs nothing from outside"));

pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime needs nothing but threads")
});

/// A receiver for `127.0.0.1` and `localhost` that answers 200 with `{"ok":true}` unless it is told otherwise.
pub(crate) fn receiver() -> Builder {
    Builder { answers: Vec::new(), otherwise: None, alpn: &["h2", "http/1.1"] }
}

pub(crate) struct Builder {
    answers: Vec<Answer>,
    otherwise: Option<Answer>,
    alpn: &'static [&'static str],
}

impl Builder {
    /// The next answer of the script: a status, or a whole answer.
    pub(crate) fn respond(mut self, answer: impl Into<Answer>) -> Self {
        self.answers.push(answer.into());
        self
    }

    /// The one after it.
    pub(crate) fn then(self, answer: impl Into<Answer>) -> Self {
        self.respond(answer)
    }

    /// The answer when the script is over.
    pub(crate) fn otherwise(mut self, answer: impl Into<Answer>) -> Self {
        self.otherwise = Some(answer.into());
        self
    }

    /// Speaks HTTP/1.1 alone.
    pub(crate) fn http1(mut self) -> Self {
        self.alpn = &["http/1.1"];
        self
    }

    /// Speaks HTTP/2 alone.
    pub(crate) fn http2(mut self) -> Self {
        self.alpn = &["h2"];
        self
    }

    pub(crate) fn start(self) -> Target {
        let tls = AUTHORITY.server_config(&["127.0.0.1", "localhost"], self.alpn).expect("both are names");
        let receiver = RUNTIME.block_on(Receiver::with_tls(tls)).expect("127.0.0.1 has a free port");
        for answer in self.answers {
            receiver.respond(answer);
        }
        if let Some(answer) = self.otherwise {
            receiver.otherwise(answer);
        }
        Target { receiver }
    }
}

/// A running receiver.
pub(crate) struct Target {
    receiver: Receiver,
}

impl Deref for Target {
    type Target = Receiver;

    fn deref(&self) -> &Receiver {
        &self.receiver
    }
}

impl Target {
    pub(crate) fn port(&self) -> u16 {
        let addr: SocketAddr = self.receiver.addr();
        addr.port()
    }

    /// The URL of a path, which begins with `/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.receiver.addr())
    }

    /// Waits until so many requests have come in, all told, and gives all of them.
    #[track_caller]
    pub(crate) fn wait(&self, count: usize) -> Vec<Recorded> {
        let reached = RUNTIME.block_on(self.receiver.wait_for(count, PATIENCE));
        assert!(reached, "{count} requests were expected, {} came in within {PATIENCE:?}", self.receiver.count());
        self.receiver.recorded()
    }
}

#[test]
fn a_script_is_played_in_order_and_then_the_default() {
    use bytes::Bytes;
    use http_body_util::Full;
    use outrigger::client::{Client, Limits, Routes};
    use outrigger::config::Egress;
    use outrigger::webhook::tls::Tls;

    let target = receiver().respond(500).then(Answer::text("ok")).otherwise(404).start();
    let egress = Egress {
        allow_ports: (1..=u16::MAX).collect(),
        allow_networks: vec!["127.0.0.0/8".parse().expect("a network")],
        ca_pem: Some(AUTHORITY.ca_pem().to_owned()),
        ..Egress::default()
    };
    let limits = Limits { timeout: PATIENCE, response_bytes_max: 100 };
    let client = Client::new(&egress, &Tls::default(), Routes::default()).expect("a client");
    let statuses: Vec<u16> = (0..4)
        .map(|_| {
            let request = http::Request::post(target.url("/x")).body(Full::new(Bytes::new())).expect("a request");
            RUNTIME.block_on(client.send(request, limits)).expect("an answer").status.as_u16()
        })
        .collect();
    assert_eq!(statuses, [500, 200, 404, 404]);
    assert_eq!(target.wait(4).len(), 4);
}
