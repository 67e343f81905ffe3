//! Meters as OpenTelemetry's metrics: what a snapshot says, in its words, sent every while by a thread of its own.
//!
//! Counts and histograms are cumulative, so that one that is lost on the way is made good by the next.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use memos_memory::error::{Error, Result};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use parking_lot::Mutex;
use prost::Message;

use super::post::Post;
use crate::telemetry::{ActorFigures, Distribution, Meters, Snapshot, SpaceFigures, WorkerFigures};

/// Kernels of one process whose meters are sent.
const MOST_KERNELS: usize = 64;
/// The bounds of a histogram of times: each doubling from 2^10 nanoseconds, a microsecond, to 2^37, two minutes.
const TIMES: std::ops::RangeInclusive<u32> = 10..=37;
/// The bounds of a histogram of numbers: each doubling from 1 to 16,384.
const NUMBERS: std::ops::RangeInclusive<u32> = 0..=14;
const NANOS: f64 = 1e-9;

struct Watched {
    number: u64,
    meters: Meters,
}

#[derive(Default)]
struct Kernels {
    next: u64,
    watched: Vec<Watched>,
}

/// The thread that sends meters.
pub(super) struct MetricSender {
    kernels: Arc<Mutex<Kernels>>,
    end: SyncSender<()>,
    ended: Receiver<()>,
}

impl MetricSender {
    pub(super) fn begin(post: Post, resource: Vec<KeyValue>, every: Duration) -> Result<Self> {
        let (end, ending) = sync_channel::<()>(1);
        let (tell, ended) = sync_channel::<()>(1);
        let kernels: Arc<Mutex<Kernels>> = Arc::default();
        let watched = kernels.clone();
        let work = move || {
            loop {
                let is_last = !matches!(ending.recv_timeout(every), Err(RecvTimeoutError::Timeout));
                if let Some(request) = gather(&watched, &resource) {
                    // Trouble is told by the way itself, and the next one says it all.
                    let _ = post.send(&request.encode_to_vec());
                }
                if is_last {
                    // Whoever waited may have gone.
                    let _ = tell.send(());
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("memos-metrics".to_owned()).spawn(work);
        thread
            .map_err(|e| Error::unavailable(format!("the thread for metrics cannot be started: {e}")).with_source(e))?;
        Ok(Self { kernels, end, ended })
    }

    pub(super) fn watch(&self, meters: Meters) {
        let kernels = &mut *self.kernels.lock();
        kernels.watched.retain(|kernel| !kernel.meters.is_over());
        if kernels.watched.len() < MOST_KERNELS {
            kernels.next += 1;
            kernels.watched.push(Watched { number: kernels.next, meters });
        }
    }

    /// Sends what the meters say last, and waits for that until the deadline.
    pub(super) fn end(self, deadline: Duration) {
        let until = Instant::now() + deadline;
        drop(self.end);
        // It is not waited for any longer, whatever it does.
        let _ = self.ended.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

fn gather(kernels: &Mutex<Kernels>, resource: &[KeyValue]) -> Option<ExportMetricsServiceRequest> {
    let resource_metrics: Vec<ResourceMetrics> = {
        let kernels = &mut *kernels.lock();
        let gathered = kernels.watched.iter().map(|kernel| {
            let mut attributes = resource.to_vec();
            attributes.push(number_attribute("memos.kernel", kernel.number));
            resource_metrics(attributes, &kernel.meters.snapshot())
        });
        let gathered = gathered.collect();
        // What a kernel that has ended said last is said once more, and then no more.
        kernels.watched.retain(|kernel| !kernel.meters.is_over());
        gathered
    };
    (!resource_metrics.is_empty()).then_some(ExportMetricsServiceRequest { resource_metrics })
}

fn resource_metrics(attributes: Vec<KeyValue>, snapshot: &Snapshot) -> ResourceMetrics {
    let scope = InstrumentationScope {
        name: "memos".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    ResourceMetrics {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_metrics: vec![ScopeMetrics {
            scope: Some(scope),
            metrics: Telling::of(snapshot).all(),
            schema_url: String::new(),
        }],
        schema_url: String::new(),
    }
}

/// One snapshot on its way to metrics.
struct Telling<'a> {
    snapshot: &'a Snapshot,
    began: u64,
    taken: u64,
}

type Labelled<T> = (Vec<KeyValue>, T);

impl<'a> Telling<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let nanos = |millis: u64| millis.saturating_mul(1_000_000);
        let began = nanos(snapshot.taken.saturating_sub(snapshot.uptime));
        Self { snapshot, began, taken: nanos(snapshot.taken) }
    }

    fn all(&self) -> Vec<Metric> {
        let Snapshot { sessions, sessions_begun, open_spaces, dead_letters, .. } = self.snapshot;
        let alone = |value: u64| vec![(Vec::new(), value)];
        let mut metrics = vec![
            self.gauge("memos.session.count", "{session}", alone(*sessions)),
            self.sum("memos.session.begun", "{session}", alone(*sessions_begun)),
            self.gauge("memos.space.open", "{space}", alone(*open_spaces as u64)),
            self.sum("memos.dead_letters", "{message}", alone(*dead_letters)),
        ];
        metrics.extend(self.actors());
        metrics.extend(self.workers());
        metrics.extend(self.recall());
        metrics.extend(self.commits());
        metrics.extend(self.spaces());
        metrics.extend(self.counts());
        metrics
    }

    fn actors(&self) -> Vec<Metric> {
        let actors = &self.snapshot.actors;
        let label = |kind: &str| vec![text_attribute("memos.actor", kind)];
        let number = |figure: fn(&ActorFigures) -> u64| {
            actors.iter().map(|actor| (label(&actor.kind), figure(actor))).collect::<Vec<_>>()
        };
        let times = |figure: fn(&ActorFigures) -> &Distribution| {
            actors.iter().map(|actor| (label(&actor.kind), figure(actor))).collect::<Vec<_>>()
        };
        vec![
            self.gauge("memos.actor.count", "{actor}", number(|actor| actor.actors as u64)),
            self.gauge("memos.actor.queue", "{message}", number(|actor| actor.queue as u64)),
            self.gauge("memos.actor.places", "{message}", number(|actor| actor.places as u64)),
            self.histogram("memos.actor.wait", times(|actor| &actor.wait)),
            self.histogram("memos.actor.service", times(|actor| &actor.service)),
            self.sum("memos.actor.restarts", "{restart}", number(|actor| actor.restarts)),
            self.sum("memos.actor.given_up", "{actor}", number(|actor| actor.given_up)),
            self.sum("memos.actor.dead_letters", "{message}", number(|actor| actor.dead_letters)),
            self.sum("memos.actor.busy", "{message}", number(|actor| actor.busy)),
        ]
    }

    fn workers(&self) -> Vec<Metric> {
        let workers = &self.snapshot.workers;
        let label = |name: &str| vec![text_attribute("memos.worker", name)];
        let number = |figure: fn(&WorkerFigures) -> usize| {
            workers.iter().map(|worker| (label(&worker.name), figure(worker) as u64)).collect::<Vec<_>>()
        };
        vec![
            self.gauge("memos.worker.threads", "{thread}", number(|worker| worker.threads)),
            self.gauge("memos.worker.working", "{thread}", number(|worker| worker.working)),
            self.gauge("memos.worker.queue", "{work}", number(|worker| worker.queue)),
            self.histogram(
                "memos.worker.wait",
                workers.iter().map(|worker| (label(&worker.name), &worker.wait)).collect(),
            ),
            self.histogram(
                "memos.worker.service",
                workers.iter().map(|worker| (label(&worker.name), &worker.service)).collect(),
            ),
        ]
    }

    fn recall(&self) -> Vec<Metric> {
        let recall = &self.snapshot.recall;
        let parts = [("embed", &recall.embed), ("find", &recall.find), ("rank", &recall.rank), ("pack", &recall.pack)];
        let parts = parts.map(|(part, times)| (vec![text_attribute("memos.recall.part", part)], times));
        vec![
            self.histogram("memos.recall.latency", vec![(Vec::new(), &recall.latency)]),
            self.histogram("memos.recall.part", parts.into()),
            self.sum("memos.recall.failed", "{recall}", vec![(Vec::new(), recall.failed)]),
        ]
    }

    fn commits(&self) -> Vec<Metric> {
        let commits = &self.snapshot.commits;
        vec![
            self.sum("memos.commit.groups", "{group}", vec![(Vec::new(), commits.groups)]),
            self.numbers("memos.commit.batches", "{batch}", &commits.batches),
            self.numbers("memos.commit.events", "{event}", &commits.events),
            self.histogram("memos.commit.flush", vec![(Vec::new(), &commits.flush)]),
            self.sum("memos.commit.failed", "{batch}", vec![(Vec::new(), commits.failed)]),
        ]
    }

    fn spaces(&self) -> Vec<Metric> {
        let number = |figure: fn(&SpaceFigures) -> u64| {
            let spaces = self.snapshot.spaces.iter();
            spaces.map(|space| (vec![text_attribute("memos.space", &space.name)], figure(space))).collect::<Vec<_>>()
        };
        vec![
            self.sum("memos.space.reads", "{read}", number(|space| space.reads)),
            self.sum("memos.space.writes", "{batch}", number(|space| space.writes)),
            self.sum("memos.space.events", "{event}", number(|space| space.events)),
        ]
    }

    fn counts(&self) -> Vec<Metric> {
        let groups = self.snapshot.counts.iter();
        let metric = |(group, counts): (&String, &std::collections::BTreeMap<String, u64>)| {
            let points = counts.iter().map(|(done, count)| (vec![text_attribute("memos.done", done)], *count));
            self.sum(&format!("memos.{group}"), "1", points.collect())
        };
        groups.map(metric).collect()
    }

    fn points(&self, values: Vec<Labelled<u64>>) -> Vec<NumberDataPoint> {
        let point = |(attributes, value): Labelled<u64>| NumberDataPoint {
            attributes,
            start_time_unix_nano: self.began,
            time_unix_nano: self.taken,
            value: Some(Value::AsInt(i64::try_from(value).unwrap_or(i64::MAX))),
            ..NumberDataPoint::default()
        };
        values.into_iter().map(point).collect()
    }

    fn gauge(&self, name: &str, unit: &str, values: Vec<Labelled<u64>>) -> Metric {
        metric(name, unit, Data::Gauge(Gauge { data_points: self.points(values) }))
    }

    fn sum(&self, name: &str, unit: &str, values: Vec<Labelled<u64>>) -> Metric {
        let data_points = self.points(values);
        let aggregation_temporality = AggregationTemporality::Cumulative as i32;
        metric(name, unit, Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: true }))
    }

    /// Tells times, in seconds.
    fn histogram(&self, name: &str, values: Vec<Labelled<&Distribution>>) -> Metric {
        let points = values.into_iter().map(|(labels, times)| self.buckets(labels, times, TIMES, NANOS));
        histogram_metric(name, "s", points.collect())
    }

    fn numbers(&self, name: &str, unit: &str, numbers: &Distribution) -> Metric {
        histogram_metric(name, unit, vec![self.buckets(Vec::new(), numbers, NUMBERS, 1.0)])
    }

    /// Puts finer buckets together into one for each doubling; the bounds are always the same, as a series wants it.
    fn buckets(
        &self,
        attributes: Vec<KeyValue>,
        values: &Distribution,
        doublings: std::ops::RangeInclusive<u32>,
        unit: f64,
    ) -> HistogramDataPoint {
        let bounds: Vec<u64> = doublings.map(|doubling| 1_u64 << doubling).collect();
        let mut bucket_counts = vec![0; bounds.len() + 1];
        for (upper, count) in &values.buckets {
            let place = bounds.partition_point(|bound| bound < upper);
            if let Some(bucket) = bucket_counts.get_mut(place) {
                *bucket += count;
            }
        }
        HistogramDataPoint {
            attributes,
            start_time_unix_nano: self.began,
            time_unix_nano: self.taken,
            count: values.count,
            sum: Some(values.sum as f64 * unit),
            bucket_counts,
            explicit_bounds: bounds.into_iter().map(|bound| bound as f64 * unit).collect(),
            max: (values.count > 0).then_some(values.largest as f64 * unit),
            ..HistogramDataPoint::default()
        }
    }
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    Metric { name: name.to_owned(), unit: unit.to_owned(), data: Some(data), ..Metric::default() }
}

fn histogram_metric(name: &str, unit: &str, data_points: Vec<HistogramDataPoint>) -> Metric {
    let aggregation_temporality = AggregationTemporality::Cumulative as i32;
    metric(name, unit, Data::Histogram(Histogram { data_points, aggregation_temporality }))
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text_attribute(key: &str, value: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.to_owned()))
}

fn number_attribute(key: &str, value: u64) -> KeyValue {
    attribute(key, any_value::Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_says_all_that_was_counted() {
        let snapshot = Snapshot { taken: 5000, uptime: 3000, ..Snapshot::default() };
        let telling = Telling::of(&snapshot);
        assert_eq!((telling.began, telling.taken), (2_000_000_000, 5_000_000_000));
        let seen = Distribution::of(vec![(1023, 2), (1151, 3), (2047, 1), (u64::MAX, 4)], 9000, 1 << 41);
        let point = telling.buckets(Vec::new(), &seen, TIMES, NANOS);
        assert_eq!(point.bucket_counts.iter().sum::<u64>(), seen.count);
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!(point.bucket_counts[..2], [2, 4]);
        assert_eq!(point.bucket_counts.last(), Some(&4));
        assert!((point.explicit_bounds[0] - 1.024e-6).abs() < 1e-12);
    }
}
