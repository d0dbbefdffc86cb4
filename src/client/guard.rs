//! The egress guard: which addresses and ports may be dialled.
//!
//! It judges the address that is really dialled, after name resolution, so that neither a name that resolves to a private
//! address nor a literal address in a URL gets past it. An IPv6 address that carries an IPv4 address must pass as both, because
//! packets may end up at either.
//!
//! What is public is told by IANA's registries of special-purpose addresses for IPv4 and IPv6: nothing in them passes, not even
//! the few anycast services among them that can be reached from everywhere, because the nearest of those may be an inner one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// Where clouds hand the machine's own credentials to whoever asks. A wider network never lets them pass.
const METADATA: &[IpAddr] = &[
    // AWS, Azure, Google, OpenStack and most others.
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    // AWS: tasks of ECS, pods of EKS.
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    // Tencent, Scaleway.
    IpAddr::V4(Ipv4Addr::new(169, 254, 0, 23)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 42, 42)),
    // Alibaba, Volcano Engine: inside carrier-grade NAT.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(100, 96, 0, 96)),
    // Azure's host, by a public address.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // Oracle's older address.
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    // AWS, and its pods of EKS.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    // Alibaba, Google, Oracle, Linode, Scaleway, OpenStack.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
];
const METADATA_WORD: &str = "a cloud metadata";

/// IPv4 networks that are not the public internet; the first that contains an address names it.
const BLOCKED_V4: &[(Ipv4Net, &str)] = &[
    (v4(0, 0, 0, 0, 32), "an unspecified"),
    (v4(0, 0, 0, 0, 8), "a reserved"),
    (v4(10, 0, 0, 0, 8), "a private"),
    (v4(100, 64, 0, 0, 10), "a carrier-grade NAT"),
    (v4(127, 0, 0, 0, 8), "a loopback"),
    (v4(169, 254, 0, 0, 16), "a link-local"),
    (v4(172, 16, 0, 0, 12), "a private"),
    (v4(192, 0, 0, 0, 24), "a reserved"),
    (v4(192, 0, 2, 0, 24), "a documentation"),
    (v4(192, 31, 196, 0, 24), "a reserved"),
    (v4(192, 52, 193, 0, 24), "a reserved"),
    (v4(192, 88, 99, 0, 24), "a reserved"),
    (v4(192, 168, 0, 0, 16), "a private"),
    (v4(192, 175, 48, 0, 24), "a reserved"),
    (v4(198, 18, 0, 0, 15), "a benchmarking"),
    (v4(198, 51, 100, 0, 24), "a documentation"),
    (v4(203, 0, 113, 0, 24), "a documentation"),
    (v4(224, 0, 0, 0, 4), "a multicast"),
    (v4(255, 255, 255, 255, 32), "a broadcast"),
    (v4(240, 0, 0, 0, 4), "a reserved"),
];

/// IPv6 networks that are not the public internet; the first that contains an address names it.
const BLOCKED_V6: &[(Ipv6Net, &str)] = &[
    (v6(0, 0, 0, 128), "an unspecified"),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "a loopback"),
    (v6(0, 0, 0, 96), "an IPv4-compatible"),
    (TRANSLATED, "an IPv4-translated"),
    (v6(0xfc00, 0, 0, 7), "a unique-local"),
    (v6(0xfe80, 0, 0, 10), "a link-local"),
    (v6(0xfec0, 0, 0, 10), "a site-local"),
    (v6(0xff00, 0, 0, 8), "a multicast"),
    (v6(0x64, 0xff9b, 1, 48), "a local NAT64"),
    (v6(0x2001, 0x2, 0, 48), "a benchmarking"),
    (v6(0x2001, 0, 0, 32), "a Teredo"),
    (v6(0x2001, 0, 0, 23), "a reserved"),
    (v6(0x2001, 0xdb8, 0, 32), "a documentation"),
    (v6(0x2620, 0x4f, 0x8000, 48), "a reserved"),
    (v6(0x3ffe, 0, 0, 16), "a reserved"),
    (v6(0x3fff, 0, 0, 20), "a documentation"),
];

/// The one part of IPv6 from which public addresses are given out, and NAT64, which is as public as what it carries. All else is
/// reserved.
const PUBLIC_V6: [Ipv6Net; 2] = [v6(0x2000, 0, 0, 3), NAT64];
/// The prefix under which a NAT64 gateway carries IPv4 addresses (RFC 6052).
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);

/// IPv4-translated addresses (RFC 2765), given up.
const TRANSLATED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96);

/// The last four octets.
const LAST: [usize; 4] = [12, 13, 14, 15];

/// Networks whose addresses carry an IPv4 address: in which octets, and what these are masked with. IPv4-mapped addresses are not
/// among them, for they are nothing but IPv4.
const CARRIERS: &[(Ipv6Net, [usize; 4], u8)] = &[
    // IPv4-compatible (RFC 4291), given up as well.
    (v6(0, 0, 0, 96), LAST, 0),
    (TRANSLATED, LAST, 0),
    (NAT64, LAST, 0),
    // 6to4 (RFC 3056).
    (v6(0x2002, 0, 0, 16), [2, 3, 4, 5], 0),
    // Teredo (RFC 4380): its server, and its client in disguise.
    (v6(0x2001, 0, 0, 32), [4, 5, 6, 7], 0),
    (v6(0x2001, 0, 0, 32), LAST, 0xff),
    // A gateway of one's own (RFC 8215) may use any of these forms (RFC 6052).
    (v6(0x64, 0xff9b, 1, 48), [6, 7, 9, 10], 0),
    (v6(0x64, 0xff9b, 1, 48), [7, 9, 10, 11], 0),
    (v6(0x64, 0xff9b, 1, 48), [9, 10, 11, 12], 0),
    (v6(0x64, 0xff9b, 1, 48), LAST, 0),
];

/// What may be reached beside port 443 of the public internet.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    networks: Vec<IpNet>,
    ports: Vec<u16>,
}

/// Why an address may not be dialled: the end of a sentence that begins with it, and names the key to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The address in question.
    pub address: IpAddr,
    /// What is wrong with it: the address itself, or an IPv4 address that it carries.
    pub at: IpAddr,
    /// The network that this is in, with its article (`a private`).
    pub network: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, at, network } = self;
        if at == address {
            write!(f, "is {network} address; ")?;
        } else {
            write!(f, "leads to {at}, {network} address; ")?;
        }
        if *network == METADATA_WORD {
            f.write_str("credentials are handed out there, so no wider network of egress.allow_networks opens it")
        } else {
            write!(f, "to reach it, add \"{}\" to egress.allow_networks", IpNet::from(*address))
        }
    }
}

impl Guard {
    /// A guard that lets these networks (`egress.allow_networks`) and ports (`egress.allow_ports`) pass as well.
    #[must_use]
    pub fn new(networks: Vec<IpNet>, ports: Vec<u16>) -> Self {
        Self { networks, ports }
    }

    /// Whether a port may be dialled.
    #[must_use]
    pub fn allows_port(&self, port: u16) -> bool {
        port == super::connect::HTTPS_PORT || self.ports.contains(&port)
    }

    /// Why an address may not be dialled; `None` when it may.
    ///
    /// A network that contains an address lets all that it carries pass, and a network that contains what is carried lets that
    /// pass. What hands out credentials takes a network of its own: `/32`, or `/128`.
    #[must_use]
    pub fn refusal(&self, address: IpAddr) -> Option<Refusal> {
        let address = address.to_canonical();
        let parts = [address].into_iter().chain(carried(address).into_iter().map(IpAddr::V4));
        let refusals = parts.filter_map(|at| {
            let network = network_of(at)?;
            let passes = self.networks.iter().any(|allowed| {
                let narrow = allowed.prefix_len() == allowed.max_prefix_len();
                (narrow || network != METADATA_WORD) && (allowed.contains(&at) || allowed.contains(&address))
            });
            (!passes).then_some(Refusal { address, at, network })
        });
        // The worst comes first, so that nobody is told how to let it pass.
        refusals.min_by_key(|refusal| refusal.network != METADATA_WORD)
    }
}

/// The network beyond the public internet that an address is in.
fn network_of(address: IpAddr) -> Option<&'static str> {
    if METADATA.contains(&address) {
        return Some(METADATA_WORD);
    }
    match address {
        IpAddr::V4(address) => BLOCKED_V4.iter().find(|(network, _)| network.contains(&address)).map(|&(_, word)| word),
        IpAddr::V6(address) => {
            let blocked = BLOCKED_V6.iter().find(|(network, _)| network.contains(&address)).map(|&(_, word)| word);
            let public = || PUBLIC_V6.iter().any(|network| network.contains(&address));
            blocked.or_else(|| (!public()).then_some("a reserved"))
        }
    }
}

/// The IPv4 addresses that an address may carry, wherever packets to it end up.
fn carried(address: IpAddr) -> Vec<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return Vec::new() };
    if address.is_unspecified() || address.is_loopback() {
        return Vec::new();
    }
    let octets = address.octets();
    let read = |places: [usize; 4], mask| {
        Ipv4Addr::from_octets(places.map(|place| octets.get(place).copied().unwrap_or_default() ^ mask))
    };
    let carriers = CARRIERS.iter().filter(|(network, ..)| network.contains(&address));
    let mut carried: Vec<_> = carriers.map(|&(_, places, mask)| read(places, mask)).collect();
    // ISATAP (RFC 5214) stands in the second half of an address of any network.
    if matches!(octets, [_, _, _, _, _, _, _, _, 0 | 2, 0, 0x5e, 0xfe, ..]) {
        carried.push(read(LAST, 0));
    }
    carried
}

#[cfg(test)]
mod tests;
