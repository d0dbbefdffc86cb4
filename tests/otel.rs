//! Spans: what a collector gets of requests and attempts. `cargo test --features otel --test main otel::` runs all of it.

#[cfg(feature = "otel")]
mod collector;
#[cfg(feature = "otel")]
mod spans;

#[cfg(not(feature = "otel"))]
#[test]
fn a_program_without_traces_refuses_the_table_with_what_to_do() {
    use crate::support::sidecar;
    let written = sidecar()
        .setting("traces.endpoint = \"http://127.0.0.1:4318\"")
        .webhook("hook", "url = \"https://hooks.example.com/in\"")
        .write();
    for arguments in [&["check"][..], &["run"]] {
        let ended = written.run(arguments);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(!ended.status.success() && said.contains("feature `otel`"), "{ended:?}");
    }
    // The variables of OpenTelemetry are there for all programs of a pod, and are no mistake.
    let sidecar = sidecar()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        .webhook("hook", "url = \"https://hooks.example.com/in\"")
        .start();
    assert!(!sidecar.log().contains("spans."), "{}", sidecar.log());
}
