//! `url`: https, an allowed port, a host that no event decides, and a template behind it.
//!
//! A reference may give the host or the whole URL, so the part up to the path is put together first and judged then.
//! Beyond the host nothing of a reference is ever shown.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::Arc;

use crate::config::document::{Report, Text};
use crate::config::references::{PLACEHOLDER, Piece, Resolver, pieces, unclosed};
use crate::config::snapshot::Egress;
use crate::diagnostic::Fault;
use crate::secret::{MASK, Secret};
use crate::template::{Format, Template};
use crate::webhook::Url;
use crate::webhook::path::climbs;

/// What a reference without a value stands for where it is the whole URL.
const PLACEHOLDER_URL: &str = "https://placeholder.invalid/PLACEHOLDER";

/// The port of https.
const PORT: u16 = 443;

/// The shortest path that is masked as a whole, in bytes: `/in` stands in many texts by chance.
const SECRET_PATH_BYTES_MIN: usize = 8;
/// The shortest part of a path or query that is masked by itself, in bytes.
const SECRET_PART_BYTES_MIN: usize = 16;

const HOST_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Compiles `url`. Without `egress` (its own table is faulty) ports and hosts are not held against it.
pub(super) fn url(
    report: &mut Report,
    text: &Text<'_>,
    resolver: &mut Resolver<'_, '_>,
    egress: Option<&Egress>,
) -> Option<Url> {
    let head = match head(text.value, resolver) {
        Ok(head) => head,
        Err(fault) => {
            report.fault(text, fault);
            return None;
        }
    };
    let authority = authority(&head);
    let path = path(report, text, &head, resolver);
    match authority.and_then(|(host, port)| allowed(&head, host, port, egress)) {
        Ok((host, port)) => {
            path.map(|path| Url { host, port, referenced: head.referenced, templated: !path.is_fixed(), path })
        }
        Err(fault) => {
            report.fault(text, fault);
            None
        }
    }
}

/// What a URL holds beyond its host that must not be seen in what others say of it: all that no event is part of, and its long parts,
/// which are mostly ids and tokens.
pub(super) fn secrets(url: &Url) -> Vec<Secret> {
    let mut pieces: Vec<String> = url.path.literals().map(str::to_owned).collect();
    if !url.templated {
        pieces = vec![pieces.concat()];
    }
    let parts = |piece: &str| -> Vec<Secret> {
        let parts = piece.split(['/', '?', '&', '=']).filter(|part| part.len() >= SECRET_PART_BYTES_MIN);
        let whole = Some(piece).filter(|piece| piece.len() >= SECRET_PATH_BYTES_MIN);
        whole.into_iter().chain(parts).map(|part| Secret::new(part.to_owned())).collect()
    };
    pieces.iter().flat_map(|piece| parts(piece)).collect()
}

/// The URL up to its path, references replaced.
struct Head {
    /// `https://host:port`.
    text: String,
    /// Where it stands in the source.
    at: Range<usize>,
    /// Whether a reference is part of it.
    referenced: bool,
    /// Whether a placeholder is part of it.
    placeholder: bool,
    /// The rest of the reference's value that the head ends in: literal path.
    overhang: String,
    /// Where in the source the path goes on.
    rest: usize,
}

fn head(source: &str, resolver: &mut Resolver<'_, '_>) -> Result<Head, Fault> {
    let mut head = Head {
        text: String::new(),
        at: 0..source.len(),
        referenced: false,
        placeholder: false,
        overhang: String::new(),
        rest: source.len(),
    };
    for piece in pieces(source) {
        let before = head.text.len();
        match piece {
            Piece::Literal(range) => {
                head.text.push_str(source.get(range.clone()).unwrap_or_default());
                if let Some(end) = head_end(&head.text) {
                    head.rest = range.start + (end - before.min(end));
                    head.text.truncate(end);
                    break;
                }
            }
            Piece::Dollar(range) => {
                return Err(Fault::new(range, "the host holds `$${`", "a literal ${ may stand in the path only"));
            }
            Piece::Open(range) => return Err(unclosed(range)),
            Piece::Reference(range, name) => {
                let value = resolver.resolve(name).map_err(|(problem, fix)| Fault {
                    at: range.clone(),
                    problem,
                    fix: Some(fix),
                })?;
                head.referenced = true;
                head.placeholder |= value.expose() == PLACEHOLDER;
                let whole = before == 0 && value.expose() == PLACEHOLDER;
                head.text.push_str(if whole { PLACEHOLDER_URL } else { value.expose() });
                if let Some(end) = head_end(&head.text) {
                    head.overhang = head.text.split_off(end);
                    head.rest = range.end;
                    break;
                }
            }
        }
    }
    head.at = 0..head.rest.max(1).min(source.len());
    if let Some(mustache) = source.get(head.at.clone()).and_then(|head| head.find("{{")) {
        let end =
            source.get(mustache..).and_then(|rest| rest.find("}}")).map_or(source.len(), |end| mustache + end + 2);
        return Err(Fault::new(
            mustache..end,
            "the host is a template: an event must not decide where its data goes",
            "write the host itself, or give it by a reference such as ${env:NAME}; templates may stand behind it",
        ));
    }
    Ok(head)
}

/// Where the path begins, once scheme and host are there.
fn head_end(text: &str) -> Option<usize> {
    let host = text.find("://")? + 3;
    // In `{{a/b}}` the slash is the template's.
    text.get(host..)?
        .find(['/', '?', '#', '\\'])
        .map(|end| host + end)
        .filter(|end| text.get(host..*end).is_none_or(|host| host.matches("{{").count() == host.matches("}}").count()))
}

/// Host and port of a head.
fn authority(head: &Head) -> Result<(String, u16), Fault> {
    let from = if head.referenced { " (given by a reference)" } else { "" };
    let fault = |problem: &str, fix: &str| Fault::new(head.at.clone(), format!("{problem}{from}"), fix);
    let Some((scheme, authority)) = head.text.split_once("://") else {
        return Err(match misspelt_scheme(head) {
            Some(written) => Fault::new(
                head.at.start..head.at.start + written.len(),
                format!("the URL begins with `{written}` instead of `https://`"),
                "write https:// and then the host",
            ),
            None => fault("the URL does not begin with https://", "write https:// and then the host"),
        });
    };
    if !scheme.eq_ignore_ascii_case("https") {
        return Err(if scheme.eq_ignore_ascii_case("http") {
            fault("the URL is http", "use https: webhooks are sent over TLS only")
        } else {
            fault("the URL's scheme is not https", "write https:// and then the host")
        });
    }
    if authority.contains('@') {
        return Err(fault(
            "the URL holds a user name or password",
            "move them to [auth], as basic = { username, password }",
        ));
    }
    let (host, port) = match authority.rfind(':').filter(|colon| !authority[*colon..].contains(']')) {
        Some(colon) => (&authority[..colon], Some(&authority[colon + 1..])),
        None => (authority, None),
    };
    let host = host.to_ascii_lowercase();
    if host.is_empty() {
        return Err(fault("the URL has no host", "write https:// and then the host"));
    }
    if !is_host(&host) {
        let fix = "a host is a name of letters, digits, `-` and `.` (others in punycode), or an address ([…] for IPv6)";
        return Err(fault("the URL's host is no host name", fix));
    }
    let port = match port {
        None => PORT,
        Some(port) => match port.parse().ok().filter(|number| *number != 0 && !port.starts_with('+')) {
            Some(port) => port,
            None if head.placeholder => PORT,
            None => return Err(fault("the URL's port is no port", "leave it out, or write a number from 1 to 65535")),
        },
    };
    Ok((host, port))
}

/// `https//:` and the like, where it is the file that says it.
fn misspelt_scheme(head: &Head) -> Option<&str> {
    let letters = head.text.find(|character: char| !character.is_ascii_alphabetic())?;
    let marks = head.text.get(letters..)?.find(|character| !matches!(character, ':' | '/' | '\\' | ';'))?;
    let (scheme, written) = (head.text.get(..letters)?, head.text.get(..letters + marks)?);
    (!head.referenced && marks > 0 && scheme.to_lowercase().starts_with("http")).then_some(written)
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_BYTES_MAX
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    // `0x7f.1` and `2130706433` are addresses to some resolvers: what ends like a number must be a plain address.
    let numeric = host.rsplit('.').next().is_some_and(|last| last.starts_with(|first: char| first.is_ascii_digit()));
    host.len() <= HOST_BYTES_MAX && host.split('.').all(label) && (!numeric || host.parse::<Ipv4Addr>().is_ok())
}

/// Holds host and port against `[egress]`.
fn allowed(head: &Head, host: String, port: u16, egress: Option<&Egress>) -> Result<(String, u16), Fault> {
    let Some(egress) = egress else { return Ok((host, port)) };
    if port != PORT && !egress.allow_ports.contains(&port) {
        let problem = format!("the URL names port {port}, and only {PORT} is allowed");
        let fix = format!("leave the port out, or add {port} to egress.allow_ports in outrigger.toml");
        return Err(Fault::new(head.at.clone(), problem, fix));
    }
    let hosts = &egress.allowed_hosts;
    if !hosts.is_empty() && !head.placeholder && !hosts.iter().any(|glob| glob.matches(&host)) {
        let problem = format!("the host {host} is not among egress.allowed_hosts");
        return Err(Fault::new(head.at.clone(), problem, "add it in outrigger.toml, or correct the URL"));
    }
    Ok((host, port))
}

/// The template behind the host.
fn path(report: &mut Report, text: &Text<'_>, head: &Head, resolver: &mut Resolver<'_, '_>) -> Option<Arc<Template>> {
    let rest = text.value.get(head.rest..).unwrap_or_default();
    let literal = if head.overhang.is_empty() { Some(rest) } else { None };
    if let Some(position) = head.overhang.find(|character| !is_url_character(character)) {
        let fragment = head.overhang.get(position..).is_some_and(|rest| rest.starts_with('#'));
        let problem = if fragment {
            "the URL given by a reference has a fragment (#…)"
        } else {
            "the URL given by a reference holds a character that no URL can hold"
        };
        report.fault(
            text,
            Fault::new(head.at.clone(), problem, "correct the value; such characters are percent-encoded"),
        );
        return None;
    }
    let mut clean = true;
    for (range, character) in literal_characters(text.value, head.rest) {
        if !is_url_character(character) {
            let (problem, fix) = match character {
                '#' => ("the URL has a fragment (#…), which is never sent", "remove it, or write %23"),
                ' ' => ("the URL holds a blank", "write %20"),
                _ => ("the URL holds a character that no URL can hold", "percent-encode it"),
            };
            report.fault(text, Fault::new(range, problem, fix));
            clean = false;
            break;
        }
    }
    if let Some(at) = climbing(text.value, head.rest) {
        let problem = "a segment of the URL's path is `.` or `..`, in itself or once it is decoded";
        report.fault(text, Fault::new(at, problem, "write the path as it is meant"));
        clean = false;
    }
    let mut before = match &*head.overhang {
        "" => String::new(),
        _ if resolver.masks() => format!("/{MASK}"),
        overhang => overhang.to_owned(),
    };
    if !before.starts_with('/') && !literal.is_some_and(|rest| rest.starts_with('/')) {
        before.insert(0, '/');
    }
    let source = format!("{before}{rest}");
    // What was put before the source's own text moves every place.
    let placed = |fault: Fault| {
        let back = |offset: usize| offset.checked_sub(before.len()).map(|offset| offset + head.rest);
        let at = back(fault.at.start).map_or(head.at.clone(), |start| start..back(fault.at.end).unwrap_or(start));
        Fault { at, ..fault }
    };
    match resolver.template(&source, Format::Url, Resolver::resolve_shown) {
        Ok(template) => Some(template).filter(|_| clean),
        Err(faults) => {
            for fault in faults {
                report.fault(text, placed(fault));
            }
            None
        }
    }
}

/// The first segment of a path from an offset on that is resolved away and holds neither template nor reference.
fn climbing(source: &str, from: usize) -> Option<Range<usize>> {
    // Templates and references make no segments, and end no path.
    let mut blanked = vec![b'_'; source.len()];
    for (at, character) in literal_characters(source, from) {
        character.encode_utf8(blanked.get_mut(at)?);
    }
    let blanked = String::from_utf8(blanked).ok()?;
    let mut at = from;
    for segment in blanked.get(from..)?.split('?').next()?.split('/') {
        if climbs(segment) {
            return Some(at..at + segment.len());
        }
        at += segment.len() + 1;
    }
    None
}

/// The characters from an offset on that stand outside templates and references.
fn literal_characters(source: &str, from: usize) -> Vec<(Range<usize>, char)> {
    let mut characters = Vec::new();
    let mut at = from;
    while let Some(rest) = source.get(at..).filter(|rest| !rest.is_empty()) {
        let skipped = if rest.starts_with("{{") {
            rest.find("}}").map(|end| end + 2 + usize::from(rest[end..].starts_with("}}}")))
        } else if rest.starts_with("${") && !rest.starts_with("${{") {
            rest.find('}').map(|end| end + 1)
        } else if rest.starts_with("$${") {
            Some(3)
        } else {
            None
        };
        let Some(next) = rest.chars().next() else { break };
        match skipped {
            Some(skipped) => at += skipped,
            // An open `{{` or `${` is reported by the template.
            None if rest.starts_with("{{") || (rest.starts_with("${") && !rest.starts_with("${{")) => break,
            None => {
                characters.push((at..at + next.len_utf8(), next));
                at += next.len_utf8();
            }
        }
    }
    characters
}

/// What may stand in a path or query (RFC 3986).
fn is_url_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~:/?[]@!$&'()*+,;=%".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_host_names_and_plain_addresses_are_hosts() {
        for host in ["acme.example", "a", "xn--bcher-kva.example", "10.0.0.1", "[::1]", "a_b.example"] {
            assert!(is_host(host), "{host}");
        }
        for host in [
            "",
            "a..b",
            ".a",
            "a.",
            "-a.example",
            "0x7f.1",
            "2130706433",
            "127.1",
            "[::1",
            "a b",
            "bücher.example",
            "[1.2.3.4]",
            "a%00",
            // Its first letter is the sign of the kelvin, whose lower case is a plain k.
            "\u{212a}ubernetes",
        ] {
            assert!(!is_host(host), "{host}");
        }
    }

    #[test]
    fn segments_that_climb_are_found_outside_templates_and_references() {
        for (url, found) in [
            ("https://a.b/../c", Some("..")),
            ("https://a.b/{{c}}/%2e./d", Some("%2e.")),
            ("https://a.b/${C:-?}/./d", Some(".")),
            (r#"https://a.b/{{replace c "/?/" "-"}}/../d"#, Some("..")),
            (r#"https://a.b/{{replace c "/../" "-"}}/d"#, None),
            ("https://a.b/.{{c}}./${D:-/../}", None),
            ("https://a.b/c?d=/../e", None),
        ] {
            let from = head_end(url).unwrap();
            assert_eq!(climbing(url, from).map(|at| &url[at]), found, "{url}");
        }
    }

    #[test]
    fn a_head_ends_where_the_path_begins() {
        for (url, end) in
            [("https://a.b/c", Some(11)), ("https://a?x", Some(9)), ("https://a", None), ("https:/a/b", None)]
        {
            assert_eq!(head_end(url), end, "{url}");
        }
    }
}
