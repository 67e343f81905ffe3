//! OpenTelemetry: traces and metrics go to a collector, by OTLP over HTTP with protobuf. Only where one is configured.
//!
//! ```no_run
//! use memos_runtime::telemetry::otlp::{Collector, Sending};
//!
//! # fn main() -> memos_memory::Result<()> {
//! # memos_runtime::block_on(async {
//! # let kernel = memos_runtime::Kernel::open("data").await?;
//! if let Some(collector) = Collector::from_environment()? {
//!     let sending = Sending::begin(collector, |trouble| eprintln!("{trouble}"))?;
//!     sending.subscribe()?; // the spans of this process
//!     sending.watch(kernel.meters()); // the meters of this kernel
//!     // …
//!     sending.end(std::time::Duration::from_secs(2));
//! }
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! What is sent waits in a queue with a bound, and threads of its own send it: a collector that is slow or dead costs
//! spans, which are dropped, and never time of a request. It is told once. There is no TLS here: a collector elsewhere
//! is reached through one on this machine, as OpenTelemetry advises.

mod collector;
mod metrics;
mod post;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use memos_memory::error::{Error, Result};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use prost::Message;
use tracing::Span;
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

pub use self::collector::Collector;
use self::metrics::MetricSender;
use self::post::Post;
use super::Meters;
use crate::actor::TraceLink;

/// The target of all spans that are sent.
const TARGET: &str = "memos";
const SERVICE: &str = "memos";

/// What goes to a collector, until it is ended or dropped.
pub struct Sending {
    traces: Option<SdkTracerProvider>,
    metrics: Option<MetricSender>,
    ended: Arc<AtomicBool>,
}

impl Sending {
    /// Begins to send. The first failure is told to `report`, from a thread of its own; further ones are not.
    ///
    /// # Errors
    /// `Unavailable` when a thread cannot be started.
    pub fn begin(collector: Collector, report: impl Fn(&str) + Send + Sync + 'static) -> Result<Self> {
        let resource = resource();
        let attributes = ResourceAttributesWithSchema::from(&resource);
        let ended = Arc::new(AtomicBool::new(false));
        let trouble = Arc::new(post::Trouble::new(report));
        let Collector { traces, metrics, headers, patience, every } = collector;
        let post = |endpoint| Post::new(endpoint, headers.clone(), patience, ended.clone(), trouble.clone());
        let metrics = match metrics {
            Some(endpoint) => Some(MetricSender::begin(post(endpoint), attributes.attributes.0.clone(), every)?),
            None => None,
        };
        let traces = traces.map(|endpoint| {
            let sender = SpanSender { post: post(endpoint), resource: attributes };
            SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(sender).build()
        });
        Ok(Self { traces, metrics, ended })
    }

    /// Returns what hears the spans of kernels, for a program that has a subscriber of its own: a layer of it.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + 'static
    where
        S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span> + Send + Sync,
    {
        let layer = self.traces.as_ref().map(|traces| {
            tracing_opentelemetry::layer()
                .with_tracer(traces.tracer(TARGET))
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                .with_target(false)
        });
        layer.with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO))
    }

    /// Hears the spans of all kernels of this process.
    ///
    /// # Errors
    /// `Conflict` when the program has a subscriber already; put [`Sending::layer`] into that one.
    pub fn subscribe(&self) -> Result<()> {
        if self.traces.is_none() {
            return Ok(());
        }
        let subscriber = tracing_subscriber::registry().with(self.layer());
        tracing::subscriber::set_global_default(subscriber).map_err(|e| {
            Error::conflict("the program has a subscriber of its own; put the layer into that one").with_source(e)
        })
    }

    /// Sends the meters of a kernel every while, as long as it runs.
    pub fn watch(&self, meters: Meters) {
        if let Some(metrics) = &self.metrics {
            metrics.watch(meters);
        }
    }

    /// Sends what is left, as far as that goes until the deadline, and ends.
    pub fn end(mut self, deadline: Duration) {
        self.finish(deadline);
    }

    fn finish(&mut self, deadline: Duration) {
        // Nothing is tried twice from now on.
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        let until = std::time::Instant::now() + deadline;
        if let Some(metrics) = self.metrics.take() {
            metrics.end(deadline);
        }
        if let Some(traces) = self.traces.take() {
            // What is not sent by then is lost, and a collector that was in trouble was told of.
            let _ = traces.shutdown_with_timeout(until.saturating_duration_since(std::time::Instant::now()));
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.finish(Duration::ZERO);
    }
}

/// Says who sends, as the environment has it (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`), else `memos`.
fn resource() -> Resource {
    let named = Resource::builder().build();
    let name = named.get(&opentelemetry::Key::from_static_str("service.name"));
    // The library's own word for a service without a name.
    let is_named = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    if is_named { named } else { Resource::builder().with_service_name(SERVICE).build() }
}

/// Puts a span below a link from outside, and returns the link that leads to the span itself; none where nobody sends it.
pub(super) fn adopt(span: &Span, parent: TraceLink) -> Option<TraceLink> {
    if parent != TraceLink::default() {
        let remote = SpanContext::new(
            TraceId::from(parent.trace_id),
            SpanId::from(parent.span_id),
            TraceFlags::SAMPLED,
            true,
            TraceState::NONE,
        );
        // Where no layer of ours hears the span there is nothing to put it below.
        span.set_parent(opentelemetry::Context::new().with_remote_span_context(remote)).ok()?;
    }
    let context = span.context();
    let here = context.span().span_context().clone();
    here.is_valid().then(|| TraceLink {
        trace_id: u128::from_be_bytes(here.trace_id().to_bytes()),
        span_id: u64::from_be_bytes(here.span_id().to_bytes()),
    })
}

/// Sends spans, on the thread that gathers them.
struct SpanSender {
    post: Post,
    resource: ResourceAttributesWithSchema,
}

impl std::fmt::Debug for SpanSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpanSender").finish_non_exhaustive()
    }
}

impl SpanExporter for SpanSender {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        // The thread is the sender's own, and does nothing else.
        self.post.send(&body).map_err(OTelSdkError::InternalFailure)
    }
}
