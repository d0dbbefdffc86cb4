//! Whom a request reaches: the guard, by every way in, with names that resolve to whatever the test says.

mod hosts;
mod resolution;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use outrigger::client::{Client, Names, Routes};
use outrigger::config::Egress;
use outrigger::webhook::tls::Tls;

use crate::support::raw::{Greeting, Raw, well};
use crate::support::receiver::AUTHORITY;

/// A public address, and what the tests dial in its place.
const PUBLIC: &str = "93.184.215.14";
/// A name whose certificate the stand-in has.
const NAME: &str = "public.example";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text} is no address"))
}

fn named() -> Greeting {
    Greeting::Tls(Arc::new(AUTHORITY.server_config(&[NAME], &["http/1.1"]).expect("it is a name")))
}

/// What stands at the public address: it answers 200.
fn public() -> Raw {
    Raw::start(named(), |seen| vec![well(seen)])
}

/// What stands at addresses that must never be dialled: it counts who comes.
fn trap() -> Raw {
    Raw::start(Greeting::Close, |_| Vec::new())
}

fn socket(raw: &Raw) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], raw.port()))
}

/// A client with an `[egress]` of nothing but the authority. Names are what `names` says, and addresses that pass are these sockets.
fn client(names: Arc<Names>, addresses: BTreeMap<IpAddr, SocketAddr>) -> Client {
    let egress = Egress { ca_pem: Some(AUTHORITY.ca_pem().to_owned()), ..Egress::default() };
    Client::new(&egress, &Tls::default(), Routes { names: Some(names), addresses, ..Routes::default() })
        .expect("a client")
}
