//! W3C Trace Context (levels 1 and 2): which trace an event belongs to, as its sender said by `traceparent` and `tracestate`.
//!
//! What cannot be read as the specification says is no trace: one begins with the event then, under the event's own id. A
//! `tracestate` is others' and is passed on as it came, within its limits.

use std::fmt;

/// Of a `tracestate` no more is kept, in bytes: what everybody who passes one on has to keep.
pub const STATE_BYTES_MAX: usize = 512;
/// Members of a `tracestate`; one with more is none.
const MEMBERS_MAX: usize = 32;
/// A longer member goes first where the whole is too long, in bytes.
const MEMBER_BYTES_MAX: usize = 128;
/// The key of a member, in bytes.
const KEY_BYTES_MAX: usize = 256;
/// The value of a member, in bytes.
const VALUE_BYTES_MAX: usize = 256;

/// The length of a `traceparent` of version 00.
const PARENT_BYTES: usize = 55;
/// The trace is recorded by whoever sent it.
const SAMPLED: u8 = 1;
/// Of version 00 these flags have a meaning: sampled, and that the trace's id is random.
const FLAGS: u8 = 3;

/// The identity of a span: of one attempt, for its receiver. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(u64);

impl SpanId {
    /// One of a number that whoever calls has drawn. Zero, which stands for none, is taken for one.
    #[must_use]
    pub const fn new(drawn: u64) -> Self {
        Self(if drawn == 0 { 1 } else { drawn })
    }

    /// Its bytes, as they are written.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The identity of a trace. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(u128);

impl TraceId {
    /// The trace that begins with an event, of the bytes of the event's id.
    #[must_use]
    pub const fn of(event: &[u8; 16]) -> Self {
        let number = u128::from_be_bytes(*event);
        Self(if number == 0 { 1 } else { number })
    }

    /// Its bytes, as they are written.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A trace as it came with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    id: TraceId,
    parent: SpanId,
    flags: u8,
    /// Empty where there is none.
    state: Box<str>,
}

impl Trace {
    /// One that begins here.
    #[must_use]
    pub fn new(id: TraceId, parent: SpanId, sampled: bool) -> Self {
        Self { id, parent, flags: u8::from(sampled), state: Box::default() }
    }

    /// Reads the values of both headers; `None` for what is no `traceparent`. Without one a `tracestate` says nothing, and one that
    /// cannot be read says nothing against its `traceparent`.
    #[must_use]
    pub fn parse(parent: &[u8], state: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(parent).ok()?;
        let mut parts = text.split('-');
        let (version, id, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let version = digits(version, 2)?;
        // A later version may say more behind what this one says.
        let later = match version {
            0 if parent.len() == PARENT_BYTES => false,
            0 | 0xff => return None,
            _ => true,
        };
        let (id, span, flags) = (digits(id, 32)?, digits(span, 16)?, digits(flags, 2)?);
        if id == 0 || span == 0 {
            return None;
        }
        let known = if later { SAMPLED } else { FLAGS };
        Some(Self {
            id: TraceId(id),
            parent: SpanId(u64::try_from(span).ok()?),
            flags: u8::try_from(flags).ok()? & known,
            state: std::str::from_utf8(state).ok().and_then(state_of).unwrap_or_default(),
        })
    }

    /// Its identity.
    #[must_use]
    pub const fn id(&self) -> TraceId {
        self.id
    }

    /// The span that the event came from.
    #[must_use]
    pub const fn parent(&self) -> SpanId {
        self.parent
    }

    /// Whether who sent it records it.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The `tracestate`; empty where there is none.
    #[must_use]
    pub fn state(&self) -> &str {
        &self.state
    }

    /// The same trace seen from a span within it.
    #[must_use]
    pub fn within(&self, parent: SpanId) -> Self {
        Self { parent, ..self.clone() }
    }

    /// The `traceparent` of what a span of this trace asks others.
    #[must_use]
    pub fn traceparent(&self, span: SpanId) -> String {
        traceparent(self.id, span, self.flags)
    }

    /// What it takes of memory beside its place, roughly, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.state.len()
    }

    /// As a spool keeps it: its `traceparent`, and its `tracestate` behind a space.
    #[must_use]
    pub fn written(&self) -> String {
        let mut written = self.traceparent(self.parent);
        if !self.state.is_empty() {
            written.push(' ');
            written.push_str(&self.state);
        }
        written
    }

    /// Reads what [`Trace::written`] wrote; `None` for what damage made of it.
    #[must_use]
    pub fn read(written: &str) -> Option<Self> {
        let (parent, state) = written.split_once(' ').unwrap_or((written, ""));
        Self::parse(parent.as_bytes(), state.as_bytes())
    }
}

/// The `traceparent` of a trace that nobody records.
#[must_use]
pub fn begun(id: TraceId, span: SpanId) -> String {
    traceparent(id, span, 0)
}

fn traceparent(id: TraceId, span: SpanId, flags: u8) -> String {
    format!("00-{id}-{span}-{flags:02x}")
}

/// A number of exactly so many lower-case hexadecimal digits.
fn digits(text: &str, count: usize) -> Option<u128> {
    let plain = text.len() == count && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if plain { u128::from_str_radix(text, 16).ok() } else { None }
}

/// A `tracestate` as it is passed on: unchanged, or without whole members where it is too long, large ones first and then from its end.
fn state_of(text: &str) -> Option<Box<str>> {
    let trimmed = |member: &'_ str| member.trim_matches([' ', '\t']).len();
    let mut members: Vec<&str> = text.split(',').collect();
    let given = members.iter().filter(|member| trimmed(member) > 0);
    if given.clone().count() > MEMBERS_MAX || !given.clone().all(|member| is_member(member.trim_matches([' ', '\t']))) {
        return None;
    }
    if text.len() <= STATE_BYTES_MAX {
        return Some(text.into());
    }
    let length = |members: &[&str]| members.iter().map(|member| member.len() + 1).sum::<usize>().saturating_sub(1);
    while length(&members) > STATE_BYTES_MAX {
        let Some(large) = members.iter().rposition(|member| trimmed(member) > MEMBER_BYTES_MAX) else { break };
        members.remove(large);
    }
    while length(&members) > STATE_BYTES_MAX {
        members.pop();
    }
    Some(members.join(",").into())
}

/// Whether a member is `key=value` as the specification says.
fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let in_key = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    // Level 2 asks for nothing of an `@`, which level 1 has between a tenant and a system.
    let named = key.bytes().next().is_some_and(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
    let in_value = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b'=';
    named
        && key.len() <= KEY_BYTES_MAX
        && key.bytes().all(in_key)
        && (1..=VALUE_BYTES_MAX).contains(&value.len())
        && value.bytes().all(in_value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn parse(parent: &str, state: &str) -> Option<Trace> {
        Trace::parse(parent.as_bytes(), state.as_bytes())
    }

    #[test]
    fn a_trace_goes_on_with_its_id_its_flags_and_its_state_under_another_span() {
        let state = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7,fw529a3039@dt=FfAAA w";
        for (given, sent) in [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("ff", "03")] {
            let trace = parse(&format!("00-{ID}-{SPAN}-{given}"), state).unwrap();
            assert_eq!(trace.traceparent(SpanId::new(0xab)), format!("00-{ID}-00000000000000ab-{sent}"));
            assert_eq!(
                (trace.id().to_string(), trace.parent().to_string(), trace.state()),
                (ID.into(), SPAN.into(), state)
            );
            assert_eq!(Trace::read(&trace.written()), Some(trace));
        }
        // Of a later version what is known of it: the sampled flag.
        for later in [format!("01-{ID}-{SPAN}-03"), format!("cc-{ID}-{SPAN}-ff-what-the-future-holds-ü")] {
            assert_eq!(parse(&later, "").unwrap().traceparent(SpanId::new(1)), format!("00-{ID}-0000000000000001-01"));
        }
    }

    #[test]
    fn what_is_no_traceparent_is_no_trace() {
        for parent in [
            String::new(),
            "-".to_owned(),
            format!("00-{ID}-{SPAN}"),
            format!("00-{ID}-{SPAN}-1"),
            format!("00-{ID}-{SPAN}-01-"),
            format!("00-{ID}-{SPAN}-01-more"),
            format!("00-{ID}-{SPAN}-01,00-{ID}-{SPAN}-01"),
            format!("0-{ID}-{SPAN}-01"),
            format!("ff-{ID}-{SPAN}-01"),
            format!("FE-{ID}-{SPAN}-01"),
            format!("01-{ID}-{SPAN}-01more"),
            format!("00-{}-{SPAN}-01", ID.to_uppercase()),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{ID}-{}-01", "0".repeat(16)),
            format!("00-{ID}-{SPAN}-0g"),
            format!("00-{ID}-{SPAN}-+1"),
            format!("00-+{}-{SPAN}-01", &ID[1..]),
            format!("00-{ID}ü-{}-01", &SPAN[2..]),
            format!(" 00-{ID}-{SPAN}-01"),
            format!("00_{ID}_{SPAN}_01"),
        ] {
            assert_eq!(parse(&parent, "a=1"), None, "{parent}");
        }
        assert_eq!(Trace::parse(b"00-\xff", b""), None);
    }

    #[test]
    fn a_state_that_cannot_be_read_is_left_out_and_its_trace_goes_on() {
        let of =
            |state: &[u8]| Trace::parse(format!("00-{ID}-{SPAN}-01").as_bytes(), state).unwrap().state.into_string();
        for whole in ["a=1", " a=1 ,\tb=2 ,,", "0a*/_-=!~", "t@s=x y", "a@=1", "a@b@c=1", &"a=1,".repeat(MEMBERS_MAX)] {
            assert_eq!(of(whole.as_bytes()), whole);
        }
        let long = format!("{}=1", "k".repeat(KEY_BYTES_MAX + 1));
        let long_value = format!("a={}", "v".repeat(VALUE_BYTES_MAX + 1));
        for none in ["a", "a=", "=1", "A=1", "a=1=2", "_a=1", "a=\u{1}", "a=ü", &long, &long_value, &"a=1,".repeat(33)]
        {
            assert_eq!(of(none.as_bytes()), "", "{none}");
        }
        assert_eq!(of(b"a=\xff"), "");
    }

    #[test]
    fn a_state_that_is_too_long_loses_large_members_and_then_its_end() {
        let of = |state: &str| state_of(state).unwrap().into_string();
        let (large, middle) = (format!("l={}", "x".repeat(200)), format!("m={}", "y".repeat(100)));
        let some = [middle.as_str(); 4].join(",");
        assert_eq!(of(&format!("a=1,{large},{some}")), format!("a=1,{some}"));
        assert_eq!(of(&format!("{large},{large},{large}")), format!("{large},{large}"));
        let many = [middle.as_str(); 7].join(",");
        assert_eq!(of(&many), [middle.as_str(); 4].join(","));
    }

    #[test]
    fn a_trace_that_begins_has_the_id_of_its_event_and_none_is_zero() {
        assert_eq!(begun(TraceId::of(&[7; 16]), SpanId::new(5)), format!("00-{}-0000000000000005-00", "07".repeat(16)));
        assert_eq!(begun(TraceId::of(&[0; 16]), SpanId::new(0)), format!("00-{:032x}-{:016x}-00", 1, 1));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_a_trace_that_can_be_passed_on_or_none(
            parent in prop_oneof![
                "\\PC{0,80}",
                "[0-9a-fA-F]{2}-[0-9a-fA-Fg]{31,33}-[0-9a-f]{15,17}-[0-9a-f]{1,3}(-.*)?",
                "0[01]-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
            ],
            state in prop_oneof!["\\PC{0,40}", "([a-z0-9@_]{1,140}=[ -<>-~]{1,140}[,\t ]{1,2}){0,12}"],
            bytes in any::<Vec<u8>>(),
        ) {
            let _ = Trace::parse(&bytes, &bytes);
            let _ = Trace::read(&state);
            if let Some(trace) = parse(&parent, &state) {
                prop_assert!(trace.state.len() <= STATE_BYTES_MAX);
                prop_assert!(trace.state.bytes().all(|byte| matches!(byte, b'\t' | 0x20..=0x7e)));
                prop_assert_eq!(Trace::read(&trace.written()), Some(trace.clone()));
                let sent = trace.traceparent(SpanId::new(9));
                let again = parse(&sent, trace.state()).unwrap();
                prop_assert_eq!((again.id, again.flags, &again.state), (trace.id, trace.flags, &trace.state));
                prop_assert_eq!(&parent.to_lowercase()[3..35], &trace.id.to_string());
            }
        }
    }
}
