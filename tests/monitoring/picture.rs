//! The picture of the dashboard.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::prometheus::Prometheus;
use super::world::World;
use super::{INTERVAL, dashboard, project};
use crate::support::PATIENCE;
use crate::support::process::Process;

/// Between two events.
const PAUSE: Duration = Duration::from_millis(100);

/// What the picture in the docs may weigh.
const PICTURE_BYTES_MAX: u64 = 400_000;

/// Draws the dashboard by `tests/monitoring/picture.mjs`. With `OUTRIGGER_PICTURE_SECONDS` it draws so much time of traffic into
/// `docs/pictures`, and that is how the picture there is made.
#[test]
#[ignore = "needs Prometheus, node, Chromium and playwright-core, which tests/all installs"]
fn the_dashboard_is_drawn_from_what_prometheus_answers() {
    let seconds = std::env::var("OUTRIGGER_PICTURE_SECONDS").ok().map(|text| text.parse::<u64>().unwrap());
    let traffic = Duration::from_secs(seconds.unwrap_or(8));
    let world = World::new(true);
    let interval = if seconds.is_some() { Duration::from_secs(1) } else { INTERVAL };
    let prometheus = Prometheus::scraping(world.sidecar.address("metrics"), interval);
    let begun = Instant::now();
    while begun.elapsed() < traffic {
        // Some minutes are busier than others.
        let phase = begun.elapsed().as_secs() % 80;
        for _ in 0..=phase.min(80 - phase) / 10 {
            world.post();
        }
        if begun.elapsed().as_secs() % 60 == 59 {
            world.resume("lapsed");
        }
        std::thread::park_timeout(PAUSE);
    }
    let dir = tempfile::tempdir().unwrap();
    let made: PathBuf = match seconds {
        Some(_) => project().join("docs/pictures/dashboard-1440-light.png"),
        None => dir.path().join("dashboard.png"),
    };
    let order = json!({
        "dashboard": dashboard::path(),
        "prometheus": format!("http://{}", prometheus.address),
        "seconds": traffic.as_secs(),
        "step": interval.as_secs_f64().max(traffic.as_secs_f64() / 80.0),
        "window": if seconds.is_some() { "20s" } else { "3s" },
        "picture": made,
    });
    let ended = Process::spawn(
        Command::new("node")
            .arg(project().join("tests/monitoring/picture.mjs"))
            .arg(order.to_string())
            .env("FONTCONFIG_FILE", project().join("tests/browser/fonts.conf")),
    )
    .finish(6 * PATIENCE);
    assert!(ended.status.success(), "{}{}", ended.stdout, ended.stderr);
    let bytes = std::fs::metadata(&made).unwrap().len();
    assert!((10_000..PICTURE_BYTES_MAX).contains(&bytes), "the picture has {bytes} bytes");
}
