//! Who may connect to a Unix socket, by the user id that the kernel tells of the other end (`SO_PEERCRED`, unix(7)).
//!
//! The mode of the socket's file says who may open it, and a group may be larger than was thought; this says who is spoken to.

use std::collections::BTreeSet;
use std::io;

use tokio::net::UnixStream;

/// Users whose refusal is logged, each once.
const REFUSED_LOGGED_MAX: usize = 64;

/// Says of the process's own user and another one whether that one may connect.
type Allows = dyn Fn(u32, u32) -> bool + Send + Sync;

/// Who may connect to a listener's Unix socket.
pub struct Peers {
    /// The key of `outrigger.toml`; `None` lets in whoever may open the socket.
    key: Option<&'static str>,
    allows: Box<Allows>,
    /// Those that the log has told of.
    refused: BTreeSet<u32>,
}

impl Peers {
    /// Whoever may open the socket.
    #[must_use]
    pub fn any() -> Self {
        Self { key: None, allows: Box::new(|_, _| true), refused: BTreeSet::new() }
    }

    /// Those for whom `allows` says yes of the process's own user and theirs, asked at every connection. The key is where
    /// people say who that is.
    pub fn allowed(key: &'static str, allows: impl Fn(u32, u32) -> bool + Send + Sync + 'static) -> Self {
        Self { key: Some(key), allows: Box::new(allows), refused: BTreeSet::new() }
    }

    /// Whether the other end may be spoken to. A user who may not is told of once.
    pub(super) fn admit(&mut self, listener: &str, own: u32, stream: &UnixStream) -> bool {
        let Some(key) = self.key else { return true };
        let uid = match stream.peer_cred() {
            Ok(peer) => peer.uid(),
            Err(error) => {
                tracing::warn!(listener, %error, note = "the user of a connection is unknown: it was closed", "server.peer_unknown");
                return false;
            }
        };
        let allowed = (self.allows)(own, uid);
        if !allowed && self.refused.len() < REFUSED_LOGGED_MAX && self.refused.insert(uid) {
            let note = "a user who may not connect was refused: add the uid to the setting if it may";
            tracing::warn!(listener, uid, setting = key, note, "server.peer_refused");
        }
        allowed
    }
}

/// Whether a list of `allow_uids` has a user. One that names nobody has the process's own user and root.
#[must_use]
pub fn is_allowed(allow_uids: &[u32], own: u32, uid: u32) -> bool {
    if allow_uids.is_empty() { uid == own || uid == 0 } else { allow_uids.contains(&uid) }
}

/// The user id that others see of this process when it connects to a Unix socket.
pub fn own_uid() -> io::Result<u32> {
    let (one, _other) = UnixStream::pair()?;
    Ok(one.peer_cred()?.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_named_means_its_own_user_and_root_and_a_list_means_itself() {
        let allowed = |list: &[u32]| [0, 65_532, 1000].map(|uid| is_allowed(list, 65_532, uid));
        assert_eq!(allowed(&[]), [true, true, false]);
        assert_eq!(allowed(&[1000]), [false, false, true]);
        assert_eq!(allowed(&[1000, 65_532]), [false, true, true]);
    }

    #[tokio::test]
    async fn the_process_knows_its_own_user_and_tells_of_each_refused_one_once() {
        let own = own_uid().unwrap();
        let (stream, _other) = UnixStream::pair().unwrap();
        let mut peers = Peers::allowed("ingest.allow_uids", |own, uid| uid == own);
        assert!(peers.admit("unix:a.sock", own, &stream) && peers.refused.is_empty());
        let mut peers = Peers::allowed("ingest.allow_uids", |own, uid| uid != own);
        assert!(!peers.admit("unix:a.sock", own, &stream) && !peers.admit("unix:a.sock", own, &stream));
        assert_eq!(peers.refused, BTreeSet::from([own]));
        assert!(Peers::any().admit("unix:a.sock", own, &stream));
    }
}
