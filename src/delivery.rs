//! The words of delivery: which [`Reason`]s there are and what an attempt came to.

use std::fmt;
use std::time::Duration;

use crate::event::EventId;

/// The identity of a delivery: one event for one webhook, on every attempt and on replay.
///
/// It is the event's id, `_`, and the webhook's name, so that nothing needs to be stored for it and it can never change.
#[must_use]
pub fn delivery_id(event: EventId, webhook: &str) -> String {
    format!("{event}_{webhook}")
}

/// Reads a delivery's id; `None` for anything else.
#[must_use]
pub fn parse_delivery_id(id: &str) -> Option<(EventId, &str)> {
    let (event, webhook) = id.split_at_checked(EVENT_ID_CHARS)?;
    Some((EventId::parse(event)?, webhook.strip_prefix('_').filter(|webhook| !webhook.is_empty())?))
}

/// `evt_` and the digits of a UUID.
const EVENT_ID_CHARS: usize = 36;

/// Why an attempt or a delivery failed. The closed list: metric label, log field and stored text are [`Reason::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// 400, 413, 415, 422 and every 4xx without a reason of its own; 404 where the URL has a template in it.
    ClientError,
    /// 401, 403 and 407.
    AuthError,
    /// 404 on a fixed URL.
    NotFound,
    /// 410.
    Gone,
    /// 429.
    RateLimited,
    /// 5xx, 408 and 425.
    ServerError,
    /// 3xx: redirects are never followed.
    Redirect,
    /// No complete answer within the webhook's `timeout`.
    Timeout,
    /// The host's name has no address.
    DnsError,
    /// The host refused the connection.
    ConnectionRefused,
    /// The connection was closed or reset before the answer was complete.
    ConnectionReset,
    /// The TLS handshake failed: certificate, name or protocol.
    TlsError,
    /// Any other failure on the way.
    NetworkError,
    /// The egress guard refused the address.
    BlockedAddress,
    /// The authorization server of `auth.oauth2` refused a token.
    TokenRefused,
    /// The authorization server of `auth.oauth2` did not answer, or not now.
    TokenUnavailable,
    /// A 2xx that a response validator does not accept.
    ValidationFailed,
    /// The response is larger than `limits.response` and a validator needs all of it.
    ResponseTooLarge,
    /// The request could not be rendered, or its body is not valid in its content type.
    TemplateError,
    /// `retry.max_age` is over.
    Expired,
    /// `retry.max_attempts` were made.
    AttemptsExhausted,
    /// The webhook's file is gone for `config.removal_grace`.
    WebhookRemoved,
}

impl Reason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 22] = [
        Self::ClientError,
        Self::AuthError,
        Self::NotFound,
        Self::Gone,
        Self::RateLimited,
        Self::ServerError,
        Self::Redirect,
        Self::Timeout,
        Self::DnsError,
        Self::ConnectionRefused,
        Self::ConnectionReset,
        Self::TlsError,
        Self::NetworkError,
        Self::BlockedAddress,
        Self::TokenRefused,
        Self::TokenUnavailable,
        Self::ValidationFailed,
        Self::ResponseTooLarge,
        Self::TemplateError,
        Self::Expired,
        Self::AttemptsExhausted,
        Self::WebhookRemoved,
    ];

    /// The one spelling: in logs, metrics, the spool and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientError => "client_error",
            Self::AuthError => "auth_error",
            Self::NotFound => "not_found",
            Self::Gone => "gone",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
            Self::Redirect => "redirect",
            Self::Timeout => "timeout",
            Self::DnsError => "dns_error",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionReset => "connection_reset",
            Self::TlsError => "tls_error",
            Self::NetworkError => "network_error",
            Self::BlockedAddress => "blocked_address",
            Self::TokenRefused => "token_refused",
            Self::TokenUnavailable => "token_unavailable",
            Self::ValidationFailed => "validation_failed",
            Self::ResponseTooLarge => "response_too_large",
            Self::TemplateError => "template_error",
            Self::Expired => "expired",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::WebhookRemoved => "webhook_removed",
        }
    }

    /// Reads what [`Reason::as_str`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

impl Reason {
    /// What to do about it, in a sentence or two for people on call.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::ClientError => {
                "The target refuses this request as it is. Compare the request with what the target wants (its answer often says which \
                 field), correct the template, then replay the dead letter."
            }
            Self::AuthError => {
                "The target does not accept the credentials. Renew the token or key that `[auth]` or `[headers]` refer to: deliveries wait, \
                 and go on by themselves once the secret changes or a probe succeeds."
            }
            Self::NotFound => {
                "There is nothing at this URL. Correct `url`, or the flow or channel behind it: deliveries wait, and go on once the file \
                 changes or a probe succeeds."
            }
            Self::Gone => {
                "The target says that it is gone for good, and is not asked again. Correct `url`, or say `outrigger resume NAME` if it is \
                 back."
            }
            Self::RateLimited => {
                "The target takes no more for now. Deliveries wait for as long as it asked for; set `limits.rate` to what it allows, and it \
                 need not ask."
            }
            Self::ServerError => {
                "The target has a fault of its own. The delivery is tried again by itself; look at the target if that goes on."
            }
            Self::Redirect => {
                "The target answers with another URL, and redirects are never followed. Write the final URL in `url`; deliveries wait \
                 until then."
            }
            Self::Timeout => {
                "The target did not answer in time. The delivery is tried again, and may have arrived: receivers know it by `webhook-id`. \
                 Raise `timeout` if the target is known to be slow."
            }
            Self::DnsError => {
                "The host has no address here. Check the host in `url`, and the name servers of the pod; the delivery is tried again."
            }
            Self::ConnectionRefused => {
                "Nothing listens at the target's address and port. Check `url` and whether the target is up; the delivery is tried again."
            }
            Self::ConnectionReset => {
                "The target, or something between, closed the connection in the middle. The delivery is tried again, and may have arrived: \
                 receivers know it by `webhook-id`."
            }
            Self::TlsError => {
                "No TLS connection could be agreed on: the certificate, its name, its date or the protocol. The detail says which; for a \
                 private authority set `tls.ca_file`. The delivery is tried again."
            }
            Self::NetworkError => {
                "The exchange broke off on its way. The detail says where; the delivery is tried again."
            }
            Self::BlockedAddress => {
                "The egress guard does not let this address or port pass. If it is meant, add it to `[egress]` in outrigger.toml; deliveries \
                 wait until then."
            }
            Self::TokenRefused => {
                "The authorization server gives no token for these credentials. Renew the client's secret or key, or correct `auth.oauth2`; \
                 deliveries wait until then."
            }
            Self::TokenUnavailable => {
                "The authorization server did not answer, or not now. The delivery is tried again; look at that server if it goes on."
            }
            Self::ValidationFailed => {
                "The target answered with success, and a response validator does not accept what it said. Look at the response; correct \
                 the request, or the validator if the answer was good."
            }
            Self::ResponseTooLarge => {
                "A validator needs all of the response, and it is larger than `limits.response`. Raise that limit, or let the validator look \
                 at the status or a header."
            }
            Self::TemplateError => {
                "No request could be made of this event. The detail has the place; correct the template, try it by `outrigger render`, then \
                 replay the dead letter."
            }
            Self::Expired => {
                "The delivery was older than `retry.max_age` before it succeeded. See why its attempts failed, then replay it."
            }
            Self::AttemptsExhausted => {
                "The delivery failed `retry.max_attempts` times. See why its attempts failed, then replay it."
            }
            Self::WebhookRemoved => {
                "The webhook's file was gone for `config.removal_grace`. Put a file of this name back, then replay the dead letter."
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a webhook is paused: it holds its deliveries and probes its target. The closed list: metric label, log field and the
/// text that people read are [`Cause::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// So many failures in a row that the target seems to be down.
    Breaker,
    /// The target asked for time, by a 429 or by `Retry-After`.
    RateLimited,
    /// The target does not accept the credentials.
    AuthError,
    /// A fixed URL leads nowhere.
    NotFound,
    /// The target answers with a redirect.
    Redirect,
    /// The guard refuses the target's address.
    BlockedAddress,
    /// The authorization server refuses a token.
    TokenRefused,
    /// The target is gone for good: no probe is sent.
    Gone,
}

impl Cause {
    /// Every cause, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Breaker,
        Self::RateLimited,
        Self::AuthError,
        Self::NotFound,
        Self::Redirect,
        Self::BlockedAddress,
        Self::TokenRefused,
        Self::Gone,
    ];

    /// The one spelling: that of the [`Reason`] where there is one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            Self::RateLimited => Reason::RateLimited.as_str(),
            Self::AuthError => Reason::AuthError.as_str(),
            Self::NotFound => Reason::NotFound.as_str(),
            Self::Redirect => Reason::Redirect.as_str(),
            Self::BlockedAddress => Reason::BlockedAddress.as_str(),
            Self::TokenRefused => Reason::TokenRefused.as_str(),
            Self::Gone => Reason::Gone.as_str(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A 2xx that every validator accepts.
    Accepted,
    /// Everything else.
    Failed(Failure),
}

/// A failed attempt: its reason and what is known beyond it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The cause.
    pub reason: Reason,
    /// A sentence for people. It never holds a secret or a URL beyond its host.
    pub detail: String,
    /// The response's status, when there was a response.
    pub status: Option<u16>,
    /// What the receiver asked for by `Retry-After`.
    pub retry_after: Option<Duration>,
    /// A validator that failed asks for a retry (`on_failure = "retry"`).
    pub validator_retry: bool,
}

impl Failure {
    /// A failure with nothing but its reason and sentence.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), status: None, retry_after: None, validator_retry: false }
    }
}

/// What the last attempt of a delivery came to, as it is kept with the delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastOutcome {
    /// The cause.
    pub reason: Reason,
    /// The response's status, when there was a response.
    pub status: Option<u16>,
    /// A sentence for people. It never holds a secret or a URL beyond its host.
    pub detail: String,
}

impl From<&Failure> for LastOutcome {
    fn from(failure: &Failure) -> Self {
        Self { reason: failure.reason, status: failure.status, detail: failure.detail.clone() }
    }
}

/// A sequence of one webhook's deliveries that go out one after the other: those of one access request, for example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lane(std::num::NonZeroI64);

impl Lane {
    /// The one lane of a webhook whose deliveries all stand in line.
    pub const WHOLE: Self = Self(std::num::NonZeroI64::MIN);

    /// The lane of a key: 64-bit FNV-1a (draft-eastlake-fnv), the same for ever, since it is stored. Two keys that share a lane
    /// wait for each other and lose nothing.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in key {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        std::num::NonZeroI64::new(hash.cast_signed()).map_or(Self::WHOLE, Self)
    }

    /// As it is stored.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_one_spelling() {
        let mut seen = std::collections::BTreeSet::new();
        for reason in Reason::ALL {
            assert!(seen.insert(reason.as_str()), "{reason} is spelt twice");
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
            assert!(reason.advice().ends_with('.') && !reason.advice().contains("  "), "{reason}");
        }
        assert_eq!(Reason::parse("nonsense"), None);
    }

    #[test]
    fn a_lane_is_the_same_for_ever() {
        // From the list of test vectors of the FNV draft.
        assert_eq!(Lane::of(b"").get().cast_unsigned(), 0xcbf2_9ce4_8422_2325);
        assert_eq!(Lane::of(b"foobar").get().cast_unsigned(), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_delivery_id_holds_no_dot() {
        let id = delivery_id(EventId::from_bytes([7; 16]), "okta-workflows");
        assert_eq!(id, "evt_07070707070707070707070707070707_okta-workflows");
        assert!(!id.contains('.'));
        assert_eq!(parse_delivery_id(&id), Some((EventId::from_bytes([7; 16]), "okta-workflows")));
        for nonsense in
            ["", "evt_", "evt_07070707070707070707070707070707", "evt_07070707070707070707070707070707_", "å"]
        {
            assert_eq!(parse_delivery_id(nonsense), None, "{nonsense}");
        }
    }
}
