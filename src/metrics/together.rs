//! Gauges of all webhooks told as one: each is kept for its webhook as ever, and the page shows their sum, the largest or the smallest.
//!
//! Counters need none of this: all webhooks count by the same series, which outlives each of them and so never goes down.

use std::collections::BTreeMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily};

/// The label `webhook`, and `validator`, where all of them are told as one.
pub(super) const ALL: &str = "all";

/// What becomes of two values.
pub(super) type Fold = fn(f64, f64) -> f64;

/// The sum of both.
pub(super) fn sum(one: f64, other: f64) -> f64 {
    one + other
}

/// A family of gauges that is shown without its webhooks.
pub(super) struct Together<C> {
    family: C,
    fold: Fold,
}

impl<C: Collector> Together<C> {
    pub(super) const fn new(family: C, fold: Fold) -> Self {
        Self { family, fold }
    }
}

impl<C: Collector> Collector for Together<C> {
    fn desc(&self) -> Vec<&Desc> {
        self.family.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.family.collect();
        for family in &mut families {
            let mut told: BTreeMap<Vec<(String, String)>, f64> = BTreeMap::new();
            for metric in family.get_metric() {
                let value = metric.get_gauge().get_value();
                told.entry(labels(metric)).and_modify(|known| *known = (self.fold)(*known, value)).or_insert(value);
            }
            family.set_metric(told.into_iter().map(|(labels, value)| gauge(labels, value)).collect());
        }
        families
    }
}

/// The labels of a series with nothing said of its webhook.
fn labels(metric: &Metric) -> Vec<(String, String)> {
    let told = |pair: &LabelPair| {
        let value = if pair.name() == "webhook" { ALL } else { pair.value() };
        (pair.name().to_owned(), value.to_owned())
    };
    metric.get_label().iter().map(told).collect()
}

fn gauge(labels: Vec<(String, String)>, value: f64) -> Metric {
    let pair = |(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name);
        pair.set_value(value);
        pair
    };
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::from_gauge(gauge);
    metric.set_label(labels.into_iter().map(pair).collect());
    metric
}
