//! The keys of a listener's table that say where it is and who may come in.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::document::Report;
use crate::config::reference::UIDS;
use crate::config::references::Resolver;
use crate::config::snapshot::{Listen, SOCKET_MODE};
use crate::config::table::Table;
use crate::diagnostic::Lint;
use crate::secret::Secret;

/// What the system allows for a socket's path, in bytes.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Where a listener listens.
pub(super) fn listen(report: &mut Report, table: &Table<'_>, default: &str) -> Listen {
    let text = table.text(report, "listen");
    let written = text.as_ref().map_or(default, |text| text.value);
    let fallback = Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let refuse = |report: &mut Report, problem: &str, fix: &str| {
        if let Some(text) = &text {
            report.error(text.at, problem, fix);
        }
    };
    if let Some(path) = written.strip_prefix("unix:") {
        if path.is_empty() || path.len() > SOCKET_PATH_BYTES_MAX {
            let problem = format!("a socket's path has 1 to {SOCKET_PATH_BYTES_MAX} bytes");
            refuse(report, &problem, "write \"unix:/run/outrigger/ingest.sock\"");
        }
        return Listen::Unix(PathBuf::from(path));
    }
    if let Ok(address) = written.parse() {
        return Listen::Tcp(address);
    }
    let problem = format!("`{}` is no address to listen on", table.name("listen"));
    refuse(report, &problem, "write ADDRESS:PORT such as \"127.0.0.1:8460\", or \"unix:/path\"");
    fallback
}

/// The bit that lets its owner connect.
const OWNER_WRITES: u32 = 0o200;

/// The mode of a listener's Unix socket, in octal digits.
pub(super) fn socket_mode(report: &mut Report, table: &Table<'_>, listen: &Listen) -> u32 {
    let Some(text) = table.text(report, "socket_mode") else { return SOCKET_MODE };
    let digits = text.value.strip_prefix('0').filter(|rest| rest.len() == 3).unwrap_or(text.value);
    let fits = digits.len() == 3 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let Some(mode) = u32::from_str_radix(digits, 8).ok().filter(|_| fits) else {
        let problem = format!("`{}` is no mode of a file", table.name("socket_mode"));
        report.error(text.at, problem, "write octal digits such as \"0660\", which lets its owner and group connect");
        return SOCKET_MODE;
    };
    if mode & OWNER_WRITES == 0 {
        let problem = format!(
            "`{}` keeps out the sidecar itself, which could not replace the socket of a run before",
            table.name("socket_mode")
        );
        report.error(text.at, problem, "begin with 6, as in \"0600\" or \"0660\"");
    }
    warn_without_socket(report, table, listen, "socket_mode", mode != SOCKET_MODE);
    mode
}

/// Who may connect to a listener's Unix socket; nobody named means the process's own user and root.
pub(super) fn allow_uids(report: &mut Report, table: &Table<'_>, listen: &Listen) -> Vec<u32> {
    let mut uids = Vec::new();
    for item in table.list(report, "allow_uids").unwrap_or_default() {
        let uid = item.value.as_integer().and_then(|uid| uid.as_str().parse::<u32>().ok());
        match uid.filter(|uid| UIDS.contains(&u64::from(*uid))) {
            Some(uid) => uids.push(uid),
            None => report.error(item.at, "this is no user id", "write the number that `id -u USER` prints"),
        }
    }
    warn_without_socket(report, table, listen, "allow_uids", !uids.is_empty());
    uids
}

/// A port has no file, and the kernel tells nobody's user of those who come through it.
fn warn_without_socket(report: &mut Report, table: &Table<'_>, listen: &Listen, key: &str, differs: bool) {
    if let Some(entry) = table.get(key).filter(|_| differs && !matches!(listen, Listen::Unix(_))) {
        let problem = format!("`{}` has no effect: `{}` is no Unix socket", table.name(key), table.name("listen"));
        report.warning(Lint::NoEffect, entry.key_at, problem, "remove it, or listen on \"unix:/path\"");
    }
}

/// The token of a listener.
pub(super) fn token(report: &mut Report, table: &Table<'_>, resolver: &mut Resolver<'_, '_>) -> Option<Secret> {
    let text = table.text(report, "token")?;
    let token = resolver.expand(report, &text)?;
    let visible = !token.expose().is_empty() && token.expose().bytes().all(|byte| byte.is_ascii_graphic());
    if !visible {
        let problem = format!("`{}` is empty, or holds blanks or characters beyond ASCII", table.name("token"));
        report.error(text.at, problem, "a bearer token has visible ASCII characters only");
        return None;
    }
    Some(token)
}

/// Reports a listener beyond loopback that has no token: anybody in the cluster could speak to it.
pub(super) fn require_token(report: &mut Report, table: &Table<'_>, listen: &Listen) {
    let Listen::Tcp(address) = listen else { return };
    if !address.ip().is_loopback() && table.get("token").is_none() {
        let at = table.get("listen").map_or(table.at, |entry| entry.node.at);
        let problem = format!("`{}` is not loopback, and there is no `{}`", table.name("listen"), table.name("token"));
        report.error(at, problem, "set the token, or listen on 127.0.0.1 or a Unix socket");
    }
}
