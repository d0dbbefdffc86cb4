//! The lints: what `outrigger check` looks for beyond faults. The closed list; `docs/lints.md` has an example of each.

use std::fmt;

/// A kind of warning. Its name is what people allow and what `warning[…]` says: it stays for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lint {
    /// A template, filter or ordering key asks for what the kind's schema does not have.
    UnknownPath,
    /// Triggers and filters that no event can pass.
    NeverMatches,
    /// A validator that no accepted answer can pass.
    NeverPasses,
    /// A validator that looks for JSON where the receiver is known to answer plain text.
    PlainTextReceiver,
    /// A method that Okta Workflows does not take.
    OktaPut,
    /// A Slack incoming webhook without a rate.
    SlackNoRate,
    /// A secret that is typed in clear.
    PlainSecret,
    /// Two active webhooks that would deliver the same request for the same events.
    EqualWebhooks,
    /// A reference of an inactive webhook has no value yet.
    UnsetReference,
    /// A key that has no effect where it stands.
    NoEffect,
}

impl Lint {
    /// Every lint, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::UnknownPath,
        Self::NeverMatches,
        Self::NeverPasses,
        Self::PlainTextReceiver,
        Self::OktaPut,
        Self::SlackNoRate,
        Self::PlainSecret,
        Self::EqualWebhooks,
        Self::UnsetReference,
        Self::NoEffect,
    ];

    /// Their names.
    pub const NAMES: [&str; Self::ALL.len()] = {
        let mut names = [""; Self::ALL.len()];
        let mut at = 0;
        while at < Self::ALL.len() {
            names[at] = Self::ALL[at].as_str();
            at += 1;
        }
        names
    };

    /// The one spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownPath => "unknown-path",
            Self::NeverMatches => "never-matches",
            Self::NeverPasses => "never-passes",
            Self::PlainTextReceiver => "plain-text-receiver",
            Self::OktaPut => "okta-put",
            Self::SlackNoRate => "slack-no-rate",
            Self::PlainSecret => "plain-secret",
            Self::EqualWebhooks => "equal-webhooks",
            Self::UnsetReference => "unset-reference",
            Self::NoEffect => "no-effect",
        }
    }

    /// Reads what [`Lint::as_str`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lint| lint.as_str() == text)
    }
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lint_has_one_spelling() {
        let mut seen = std::collections::BTreeSet::new();
        for lint in Lint::ALL {
            assert!(seen.insert(lint.as_str()), "{lint} is spelt twice");
            assert_eq!(Lint::parse(lint.as_str()), Some(lint));
        }
        assert_eq!(Lint::parse("unknown_path"), None);
    }
}
