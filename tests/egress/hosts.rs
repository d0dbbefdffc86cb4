//! Every way to write a host that is not public: through the loading of a webhook's file, and through a client.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use jiff::Timestamp;
use outrigger::client::Client;
use outrigger::config::{Source, load};
use outrigger::delivery::{Failure, Reason};
use outrigger::diagnostic::Level;
use outrigger::event::{Event, EventId};

use super::{NAME, PUBLIC, client, ip, public, socket, trap};
use crate::cli::folder;
use crate::faulty::AMPLE;
use crate::support::receiver::RUNTIME;

/// Hosts that a file may name: the guard refuses them by the address that they come to, with this word.
const BLOCKED: &[(&str, &str)] = &[
    ("127.0.0.1", "a loopback"),
    ("127.0.0.53", "a loopback"),
    ("127.255.255.254", "a loopback"),
    ("0.0.0.0", "an unspecified"),
    ("0.1.2.3", "a reserved"),
    ("10.0.0.1", "a private"),
    ("172.16.0.1", "a private"),
    ("172.31.255.255", "a private"),
    ("192.168.0.1", "a private"),
    ("100.64.0.1", "a carrier-grade NAT"),
    ("169.254.1.1", "a link-local"),
    ("169.254.169.254", "a cloud metadata"),
    ("169.254.170.2", "a cloud metadata"),
    ("100.100.100.200", "a cloud metadata"),
    ("168.63.129.16", "a cloud metadata"),
    ("192.0.0.192", "a cloud metadata"),
    ("192.0.0.8", "a reserved"),
    ("192.0.2.1", "a documentation"),
    ("198.51.100.1", "a documentation"),
    ("203.0.113.1", "a documentation"),
    ("198.18.0.1", "a benchmarking"),
    ("192.88.99.1", "a reserved"),
    ("224.0.0.251", "a multicast"),
    ("239.255.255.250", "a multicast"),
    ("240.0.0.1", "a reserved"),
    ("255.255.255.255", "a broadcast"),
    ("[::]", "an unspecified"),
    ("[::1]", "a loopback"),
    ("[0:0:0:0:0:0:0:1]", "a loopback"),
    ("[::ffff:127.0.0.1]", "a loopback"),
    ("[::FFFF:7F00:1]", "a loopback"),
    ("[::ffff:169.254.169.254]", "a cloud metadata"),
    ("[::ffff:a9fe:a9fe]", "a cloud metadata"),
    ("[::127.0.0.1]", "an IPv4-compatible"),
    ("[::ffff:0:127.0.0.1]", "an IPv4-translated"),
    ("[64:ff9b::7f00:1]", "a loopback"),
    ("[64:ff9b::169.254.169.254]", "a cloud metadata"),
    ("[64:ff9b:1::a00:1]", "a local NAT64"),
    ("[2002:7f00:1::]", "a loopback"),
    ("[2002:a9fe:a9fe::1]", "a cloud metadata"),
    ("[2001:0:a00:1::]", "a Teredo"),
    ("[2600:1::5efe:127.0.0.1]", "a loopback"),
    ("[fe80::1]", "a link-local"),
    ("[fe80::a9fe:a9fe]", "a cloud metadata"),
    ("[fec0::1]", "a site-local"),
    ("[fc00::1]", "a unique-local"),
    ("[fd00:ec2::254]", "a cloud metadata"),
    ("[fd20:ce::254]", "a cloud metadata"),
    ("[ff02::1]", "a multicast"),
    ("[2001:db8::1]", "a documentation"),
    ("[2001:2::1]", "a benchmarking"),
    ("[3fff::1]", "a documentation"),
    ("[100::1]", "a reserved"),
    ("[5f00::1]", "a reserved"),
    ("localhost", "a loopback"),
    ("LOCALHOST", "a loopback"),
    ("foo.localhost", "a loopback"),
    ("ip6-localhost", "a loopback"),
    ("127.0.0.1.nip.io", "a loopback"),
    ("10-0-0-1.sslip.io", "a private"),
    ("metadata.google.internal", "a cloud metadata"),
    ("metadata.tencentyun.com", "a cloud metadata"),
    ("kubernetes.default.svc.cluster.local", "a private"),
    ("host.docker.internal", "a private"),
    ("mapped.example", "a loopback"),
    ("nat64.example", "a cloud metadata"),
    ("all-private.example", "a private"),
];

/// What names come to. The first are numbers to the resolvers of many systems, so that a client that is asked for them would get there.
const NAMES: &[(&str, &[&str])] = &[
    ("0x7f000001", &["127.0.0.1"]),
    ("0x7f.1", &["127.0.0.1"]),
    ("0x7f.0x0.0x0.0x1", &["127.0.0.1"]),
    ("2130706433", &["127.0.0.1"]),
    ("017700000001", &["127.0.0.1"]),
    ("0177.0.0.1", &["127.0.0.1"]),
    ("127.1", &["127.0.0.1"]),
    ("127.0.1", &["127.0.0.1"]),
    ("127.0.0.1.", &["127.0.0.1"]),
    ("0", &["0.0.0.0"]),
    ("0x0", &["0.0.0.0"]),
    ("localhost.", &["127.0.0.1"]),
    ("localhost", &["127.0.0.1", "::1"]),
    ("foo.localhost", &["::1", "127.0.0.1"]),
    ("ip6-localhost", &["::1"]),
    ("127.0.0.1.nip.io", &["127.0.0.1"]),
    ("10-0-0-1.sslip.io", &["10.0.0.1"]),
    ("metadata.google.internal", &["169.254.169.254", "fd20:ce::254"]),
    ("metadata.tencentyun.com", &["169.254.0.23"]),
    ("kubernetes.default.svc.cluster.local", &["10.96.0.1"]),
    ("host.docker.internal", &["192.168.65.2"]),
    ("mapped.example", &["::ffff:127.0.0.1"]),
    ("nat64.example", &["64:ff9b::a9fe:a9fe"]),
    ("all-private.example", &["10.0.0.1", "fd00::1", "127.0.0.1", "192.168.0.1", "fe80::1", "::1", "172.16.0.1"]),
    (NAME, &[PUBLIC]),
];

/// URLs that no file may hold.
const REFUSED: &[&str] = &[
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0x7f.0x0.0x0.0x1/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://127.0.0.01/",
    "https://127.1/",
    "https://127.0.1/",
    "https://127.0.0.1./",
    "https://127.0.0.1.0/",
    "https://0/",
    "https://0x0/",
    "https://localhost./",
    "https://public.example./",
    "https://127%2e0.0.1/",
    "https://%31%32%37.0.0.1/",
    "https://%6cocalhost/",
    "https://１２７.0.0.1/",
    "https://①②⑦.0.0.1/",
    "https://127。0。0。1/",
    "https://127．0．0．1/",
    "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "https://loc\u{ad}alhost/",
    "https://\u{212a}ubernetes/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[127.0.0.1]/",
    "https://[::1/",
    "https://::1/",
    "https://[::ffff:127.0.0.1].example/",
    "https://[v1.127]/",
    "https://public.example@127.0.0.1/",
    "https://public.example:443@127.0.0.1/",
    "https://127.0.0.1@public.example/",
    "https://@127.0.0.1/",
    "https://public.example\\@127.0.0.1/",
    "https://127.0.0.1\\@public.example/",
    "https://127.0.0.1\\.public.example/",
    "https://public.example#@127.0.0.1/",
    "https://127.0.0.1#.public.example/",
    "https://127.0.0.1\t/",
    "https://127.0\t.0.1/",
    "https://127.0.0.1\n/",
    "https://\r\n127.0.0.1/",
    "https://127.0.0.1\u{0}.public.example/",
    "https:// 127.0.0.1/",
    " https://127.0.0.1/",
    "https:/127.0.0.1/",
    "https:127.0.0.1/",
    "https:///127.0.0.1/",
    "https:\\\\127.0.0.1/",
    "//127.0.0.1/",
    "127.0.0.1",
    "http://127.0.0.1/",
    "file:///etc/passwd",
    "https://127.0.0.1:0/",
    "https://127.0.0.1:22/",
    "https://127.0.0.1:+443/",
    "https://public.example:8443/",
    "https://public.example:65979/",
    "https://{{data.host}}/",
    "https://public.example{{data.host}}/",
    "https://public.example:{{data.port}}/",
    "{{data.url}}",
];

/// URLs that look like one of these and go to the public host.
const PASSES: &[&str] = &[
    "https://public.example/",
    "https://PUBLIC.example/",
    "https://public.example:443/",
    "https://public.example/@127.0.0.1/",
    "https://public.example?@127.0.0.1/",
    "https://public.example/https://127.0.0.1/",
    "https://public.example/{{data.host}}",
    "https://93.184.215.14/",
    "https://[::ffff:93.184.215.14]/",
];

/// The request of a webhook with this URL; `None` when its file is refused, with a place and a fix.
fn loaded(url: &str) -> Option<Uri> {
    let text = format!("url = {}\nmethod = \"GET\"\n", serde_json::to_string(url).expect("a text"));
    let folder = folder(&[("webhooks/hook.toml", &text)]);
    let loaded = load(&Source::new(folder.path()));
    let Some(snapshot) = loaded.snapshot else {
        assert!(!loaded.diagnostics.is_empty(), "{url:?}");
        for fault in loaded.diagnostics {
            assert_eq!((fault.level, fault.file.as_str()), (Level::Error, "webhooks/hook.toml"), "{url:?}");
            assert!(fault.place.is_some() && fault.fix.is_some(), "{url:?}: {fault:?}");
        }
        return None;
    };
    assert!(loaded.diagnostics.is_empty(), "{url:?}: {:?}", loaded.diagnostics);
    let raw = Bytes::from_static(
        b"{\"event_type\":\"RequestCreated\",\"data\":{\"host\":\"@127.0.0.1:22/\",\"port\":\"22\"}}",
    );
    let id = EventId::parse("evt_01a206047c4a75a3b804c9ba06761969").expect("an id");
    let event = Event::new(id, "request".into(), "RequestCreated".into(), Timestamp::UNIX_EPOCH, raw);
    Some(snapshot.webhooks["hook"].render(&event).expect("it renders").uri)
}

fn send(client: &Client, uri: Uri) -> Result<u16, Failure> {
    let request = Request::get(uri).body(Full::new(Bytes::new())).expect("a request");
    RUNTIME.block_on(client.send(request, AMPLE)).map(|response| response.status.as_u16())
}

#[test]
fn no_way_to_write_a_host_leads_beyond_the_public_internet() {
    let written = BLOCKED.len() + REFUSED.len();
    assert!(written >= 60, "only {written} forms are tried");
    let names: BTreeMap<&str, Vec<IpAddr>> =
        NAMES.iter().map(|(name, list)| (*name, list.iter().map(|address| ip(address)).collect())).collect();
    let literals = BLOCKED.iter().filter_map(|(host, _)| host.trim_matches(['[', ']']).parse().ok());
    let (public, trap) = (public(), trap());
    // Whatever would get past the guard would get here.
    let mut addresses: BTreeMap<IpAddr, _> = names
        .values()
        .flatten()
        .copied()
        .chain(literals)
        .map(|address| (address.to_canonical(), socket(&trap)))
        .collect();
    assert!(addresses.len() > 50, "{addresses:?}");
    addresses.insert(ip(PUBLIC), socket(&public));
    let client = client(Arc::new(move |name| names.get(name).cloned().unwrap_or_default()), addresses);

    let mut wrong = Vec::new();
    for (host, word) in BLOCKED {
        let url = format!("https://{host}/hidden");
        let Some(uri) = loaded(&url) else {
            wrong.push(format!("{host}: its file is refused"));
            continue;
        };
        for uri in [uri, url.parse().expect("a URL")] {
            match send(&client, uri) {
                Err(Failure { reason: Reason::BlockedAddress, detail, .. })
                    if detail.contains(&format!("{word} address")) && detail.contains("egress.allow_networks") => {}
                other => wrong.push(format!("{host}: {other:?}")),
            }
        }
    }
    let mut asked = 0;
    for url in REFUSED {
        if let Some(uri) = loaded(url) {
            wrong.push(format!("{url:?}: its file is taken, and goes to {uri}"));
        }
        // Past the loading as well, where there is such a request at all.
        let Ok(uri) = url.parse::<Uri>() else { continue };
        if uri.scheme().is_none() || uri.host() == Some(NAME) {
            continue;
        }
        asked += 1;
        match send(&client, uri) {
            Err(Failure { reason: Reason::BlockedAddress | Reason::DnsError, .. }) => {}
            Err(Failure { reason: Reason::TlsError, detail, .. }) if detail.contains("no name that a certificate") => {}
            Err(Failure { reason: Reason::NetworkError, detail, .. }) if detail.contains("without https") => {}
            other => wrong.push(format!("{url:?}: {other:?}")),
        }
    }
    assert!(asked > 10, "only {asked} of them are requests");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(trap.connections(), 0);

    assert_eq!(public.connections(), 0, "{:?}", public.seen());
    for url in PASSES {
        let uri = loaded(url).unwrap_or_else(|| panic!("{url} is refused"));
        let named = uri.host() == Some(NAME);
        let result = send(&client, uri);
        // By its bare address it is reached, and has no certificate for that.
        match result {
            Ok(200) if named => {}
            Err(Failure { reason: Reason::TlsError, .. }) if !named => {}
            other => panic!("{url}: {other:?}"),
        }
    }
    assert_eq!(trap.connections(), 0);
    assert_eq!(public.seen().len(), PASSES.len() - 2);
}

#[test]
fn a_port_that_is_not_allowed_is_refused_for_every_address_before_anything_is_dialled() {
    let public = public();
    let addresses = BTreeMap::from([(ip(PUBLIC), socket(&public))]);
    let client = client(Arc::new(|_| vec![ip(PUBLIC)]), addresses);
    for host in [NAME, PUBLIC, "127.0.0.1", "[::1]"] {
        for port in [22, 80, 8443, 65535] {
            let uri = format!("https://{host}:{port}/hidden").parse().expect("a URL");
            let failure = send(&client, uri).expect_err("it is another port");
            assert_eq!(failure.reason, Reason::BlockedAddress);
            let host = host.trim_matches(['[', ']']);
            let sentence = format!("{host} is asked for on port {port}; to reach it, add {port} to egress.allow_ports");
            assert_eq!(failure.detail, sentence);
        }
    }
    assert_eq!(public.connections(), 0);
}
