//! The guard's networks, one by one.
#![allow(clippy::unwrap_used, reason = "unwrap is for tests")]

use super::*;

fn guard(networks: &[&str]) -> Guard {
    Guard::new(networks.iter().map(|network| network.parse().unwrap()).collect(), Vec::new())
}

fn network(guard: &Guard, address: &str) -> Option<&'static str> {
    guard.refusal(address.parse().unwrap()).map(|refusal| refusal.network)
}

#[test]
fn addresses_beyond_the_public_internet_are_refused_by_their_name() {
    let cases = [
        ("0.0.0.0", "an unspecified"),
        ("0.1.2.3", "a reserved"),
        ("10.0.0.1", "a private"),
        ("10.255.255.255", "a private"),
        ("100.64.0.1", "a carrier-grade NAT"),
        ("100.127.255.255", "a carrier-grade NAT"),
        ("127.0.0.1", "a loopback"),
        ("127.255.0.9", "a loopback"),
        ("169.254.0.1", "a link-local"),
        ("172.16.0.1", "a private"),
        ("172.31.255.255", "a private"),
        ("192.0.0.1", "a reserved"),
        ("192.0.0.170", "a reserved"),
        ("192.0.2.1", "a documentation"),
        ("192.31.196.1", "a reserved"),
        ("192.52.193.1", "a reserved"),
        ("192.88.99.1", "a reserved"),
        ("192.168.1.1", "a private"),
        ("192.175.48.1", "a reserved"),
        ("198.18.0.1", "a benchmarking"),
        ("198.19.255.255", "a benchmarking"),
        ("198.51.100.7", "a documentation"),
        ("203.0.113.9", "a documentation"),
        ("224.0.0.1", "a multicast"),
        ("239.255.255.255", "a multicast"),
        ("240.0.0.1", "a reserved"),
        ("255.255.255.255", "a broadcast"),
        ("::", "an unspecified"),
        ("::1", "a loopback"),
        ("::7f00:1", "an IPv4-compatible"),
        ("::8.8.8.8", "an IPv4-compatible"),
        ("::ffff:10.1.2.3", "a private"),
        ("::ffff:127.0.0.1", "a loopback"),
        ("::ffff:0:8.8.8.8", "an IPv4-translated"),
        ("64:ff9b::7f00:1", "a loopback"),
        ("64:ff9b::a00:1", "a private"),
        ("64:ff9b:1::1", "a local NAT64"),
        ("64:ff9b:1::808:808", "a local NAT64"),
        ("64:ff9b:2::1", "a reserved"),
        ("100::1", "a reserved"),
        ("100:0:0:1::1", "a reserved"),
        ("1fff:ffff::1", "a reserved"),
        ("2001::1", "a Teredo"),
        ("2001:1::1", "a reserved"),
        ("2001:2::1", "a benchmarking"),
        ("2001:3::1", "a reserved"),
        ("2001:4:112::1", "a reserved"),
        ("2001:10::1", "a reserved"),
        ("2001:20::1", "a reserved"),
        ("2001:30::1", "a reserved"),
        ("2001:db8::1", "a documentation"),
        ("2002:7f00:1::", "a loopback"),
        ("2002:c0a8:101::1", "a private"),
        ("2600::5efe:a00:1", "a private"),
        ("2600::200:5efe:7f00:1", "a loopback"),
        ("2620:4f:8000::1", "a reserved"),
        ("3ffe::1", "a reserved"),
        ("3fff::1", "a documentation"),
        ("4000::1", "a reserved"),
        ("5f00::1", "a reserved"),
        ("fc00::1", "a unique-local"),
        ("fd12:3456::1", "a unique-local"),
        ("fe80::1", "a link-local"),
        ("fec0::1", "a site-local"),
        ("ff02::1", "a multicast"),
    ];
    for (address, word) in cases {
        assert_eq!(network(&Guard::default(), address), Some(word), "{address}");
    }
}

#[test]
fn public_addresses_pass_and_so_do_the_neighbours_of_every_blocked_network() {
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.31.197.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2000::1",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2003::1",
        "2606:4700:4700::1111",
        "2a00:1450::1",
        "3ffd::1",
        "3fff:1000::1",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
        "2600::5efe:808:808",
    ] {
        assert_eq!(network(&Guard::default(), address), None, "{address}");
    }
}

#[test]
fn an_allowed_network_passes_in_every_form_and_lets_nothing_else_pass() {
    let guard = guard(&["10.1.0.0/16", "fd12::/16"]);
    for address in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "2002:a01:203::1", "fd12::1"] {
        assert_eq!(network(&guard, address), None, "{address}");
    }
    // Of the forms that are given up, and of a gateway of one's own, only a network of IPv6 speaks.
    for address in ["10.2.0.1", "::ffff:10.2.0.1", "fd13::1", "127.0.0.1", "::a01:203", "64:ff9b:1::a01:203"] {
        assert!(network(&guard, address).is_some(), "{address}");
    }
}

#[test]
fn a_network_of_ipv6_says_nothing_of_ipv4_and_a_gateway_is_opened_by_its_own() {
    let everything = guard(&["::/0"]);
    assert_eq!(network(&everything, "fd00::1"), None);
    assert_eq!(network(&everything, "::ffff:10.0.0.1"), Some("a private"));
    assert_eq!(network(&everything, "10.0.0.1"), Some("a private"));
    assert_eq!(network(&guard(&["64:ff9b:1::/48"]), "64:ff9b:1::a00:1"), None);
}

#[test]
fn where_credentials_are_handed_out_only_an_entry_of_its_own_lets_pass() {
    let wide = guard(&["0.0.0.0/0", "::/0"]);
    let mut forms = 0;
    for metadata in METADATA {
        let own = Guard::new(vec![IpNet::from(*metadata)], Vec::new());
        assert_eq!(own.refusal(*metadata), None, "{metadata}");
        assert_eq!(network(&wide, &metadata.to_string()), Some(METADATA_WORD), "{metadata}");
        let IpAddr::V4(v4) = metadata else { continue };
        let [a, b, c, d] = v4.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let mid = u16::from_be_bytes([b, c]);
        for form in [
            format!("::ffff:{v4}"),
            format!("::{v4}"),
            format!("::ffff:0:{v4}"),
            format!("64:ff9b::{v4}"),
            format!("64:ff9b:1::{v4}"),
            format!("64:ff9b:1:{high:x}:{c:x}:{:x}::", u16::from(d) << 8),
            format!("64:ff9b:1:{a:x}:{b:x}:{low:x}::"),
            format!("64:ff9b:1::{a:x}:{mid:x}:{:x}:0", u16::from(d) << 8),
            format!("2002:{high:x}:{low:x}::1"),
            format!("2001:0:{high:x}:{low:x}::1"),
            format!("2001::{:x}:{:x}", !high, !low),
            format!("2600:1::5efe:{high:x}:{low:x}"),
        ] {
            assert_eq!(network(&wide, &form), Some(METADATA_WORD), "{form}");
            assert_eq!(network(&Guard::default(), &form), Some(METADATA_WORD), "{form}");
            forms += 1;
        }
    }
    assert_eq!(forms, 9 * 12);
    for nearly in ["169.254.169.254/31", "169.254.0.0/16", "100.64.0.0/10"] {
        assert!(network(&guard(&[nearly]), "169.254.169.254").is_some(), "{nearly}");
    }
    assert_eq!(network(&guard(&["169.254.0.0/16"]), "169.254.1.1"), None, "its neighbours are no such thing");
    assert_eq!(network(&guard(&["169.254.169.254/32"]), "64:ff9b::a9fe:a9fe"), None);
}

#[test]
fn a_refusal_names_the_key_and_what_to_add_but_never_for_credentials() {
    let said = |address: &str| Guard::default().refusal(address.parse().unwrap()).unwrap().to_string();
    let cases = [
        ("10.0.0.1", "is a private address; to reach it, add \"10.0.0.1/32\" to egress.allow_networks"),
        ("::ffff:0.0.0.0", "is an unspecified address; to reach it, add \"0.0.0.0/32\" to egress.allow_networks"),
        ("fd00::1", "is a unique-local address; to reach it, add \"fd00::1/128\" to egress.allow_networks"),
        (
            "64:ff9b::7f00:1",
            "leads to 127.0.0.1, a loopback address; to reach it, add \"64:ff9b::7f00:1/128\" to egress.allow_networks",
        ),
        (
            "::ffff:169.254.169.254",
            "is a cloud metadata address; credentials are handed out there, so no wider network of egress.allow_networks \
             opens it",
        ),
    ];
    for (address, sentence) in cases {
        assert_eq!(said(address), sentence);
        let added = sentence.split('"').nth(1);
        assert!(added.is_none_or(|added| network(&guard(&[added]), address).is_none()), "{added:?} is not enough");
    }
}

#[test]
fn the_port_of_https_is_always_open_and_others_are_when_they_are_named() {
    let guard = Guard::new(Vec::new(), vec![8088]);
    assert!(guard.allows_port(443) && guard.allows_port(8088));
    assert!(!guard.allows_port(8443) && !guard.allows_port(0) && !Guard::default().allows_port(80));
}
