//! Spans as OTLP writes them.

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Written, Status};
use prost::Message as _;

use super::{Kind, Span, Value};

/// The flag of the trace.
const SAMPLED: u32 = 1;
/// That it is said whether the parent is of another process.
const REMOTE_IS_KNOWN: u32 = 0x100;
/// That it is.
const REMOTE: u32 = 0x200;

/// A request with these spans.
pub(super) fn request(resource: &[(String, String)], spans: Vec<Span>) -> Vec<u8> {
    let attributes = resource.iter().map(|(key, value)| attribute(key, Value::Text(value.clone()))).collect();
    let scope = InstrumentationScope {
        name: "outrigger".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let spans = spans.into_iter().map(written).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// How many spans a collector refused of those that it took a request with. What is no answer refuses none.
pub(super) fn refused(answer: &[u8]) -> u64 {
    let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
    answer.partial_success.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0))
}

fn written(span: Span) -> Written {
    // Whose span caused an attempt is not kept: it may have been another process's.
    let (kind, flags) = match span.kind {
        Kind::Server => (SpanKind::Server, SAMPLED | REMOTE_IS_KNOWN | if span.parent.is_some() { REMOTE } else { 0 }),
        Kind::Client => (SpanKind::Client, SAMPLED),
    };
    let parent = span.parent.map(|parent| parent.to_bytes().to_vec());
    let status = span.failed.then(|| Status { code: StatusCode::Error.into(), ..Status::default() });
    let nanoseconds = |at: jiff::Timestamp| u64::try_from(at.as_nanosecond()).unwrap_or(0);
    Written {
        trace_id: span.trace.id().to_bytes().to_vec(),
        span_id: span.id.to_bytes().to_vec(),
        trace_state: span.trace.state().to_owned(),
        parent_span_id: parent.unwrap_or_default(),
        flags,
        name: span.name.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: nanoseconds(span.begun),
        end_time_unix_nano: nanoseconds(span.ended),
        attributes: span.attributes.into_iter().map(|(key, value)| attribute(key, value)).collect(),
        status,
        ..Written::default()
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => Any::StringValue(text),
        Value::Number(number) => Any::IntValue(number),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
