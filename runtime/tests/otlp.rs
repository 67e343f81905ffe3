//! A real kernel and a small collector: one request is one trace across session, writer and reader, and the meters arrive.

#![cfg(feature = "otlp")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use memos_memory::cube::{CubeDraft, SemanticType};
use memos_memory::governance::Principal;
use memos_memory::vault::Batch;
use memos_runtime::Kernel;
use memos_runtime::actor::TraceLink;
use memos_runtime::telemetry::otlp::{Collector, Sending};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

const LONG: Duration = Duration::from_secs(60);
const OUTSIDE: TraceLink =
    TraceLink { trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, span_id: 0xb7ad_6b71_6920_3331 };

/// Takes each request, answers it, and hands its path and its body on.
fn collector() -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (hand_on, taken) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = read_request(&stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            if hand_on.send(request).is_err() {
                return;
            }
        }
    });
    (address, taken)
}

fn read_request(stream: &TcpStream) -> (String, Vec<u8>) {
    let mut lines = BufReader::new(stream);
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    let (mut length, mut is_protobuf) = (0, false);
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        match name {
            "Content-Length" => length = value.parse().unwrap(),
            "Content-Type" => is_protobuf = value == "application/x-protobuf",
            _ => {}
        }
    }
    assert!(is_protobuf);
    let mut body = vec![0; length];
    lines.read_exact(&mut body).unwrap();
    let path = first.strip_prefix("POST ").unwrap().split(' ').next().unwrap();
    (path.to_owned(), body)
}

fn text_of(attributes: &[KeyValue], key: &str) -> Option<String> {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

async fn work(meters_to: &Sending) {
    let folder = tempfile::tempdir().unwrap();
    let kernel = Kernel::open(folder.path()).await.unwrap();
    meters_to.watch(kernel.meters());
    let session = kernel.space("acme/support").await.unwrap().session(Principal::new("user:ada".parse().unwrap()));
    let traced = session.clone().in_trace(OUTSIDE);
    traced.remember(CubeDraft::text(SemanticType::Fact, "Bo is allergic to peanuts")).await.unwrap();
    traced.ask("What is Bo allergic to?").await.unwrap();
    // A request of nobody's trace has its own; one that fails says so.
    session.commit(Batch::default()).await.unwrap();
    session.get(&session.new_id().await.unwrap()).await.unwrap_err();
    kernel.shutdown(LONG).await.unwrap();
}

/// The spans of one trace, by their ids.
struct Trace<'a>(HashMap<&'a [u8], &'a Span>);

impl<'a> Trace<'a> {
    /// Returns the names from a span up to the first whose parent is not here.
    fn way_up(&self, mut span: &'a Span) -> Vec<&'a str> {
        let mut names = vec![span.name.as_str()];
        while let Some(parent) = self.0.get(span.parent_span_id.as_slice()) {
            assert!(parent.start_time_unix_nano <= span.start_time_unix_nano);
            span = parent;
            names.push(&span.name);
        }
        names
    }
}

fn check_spans(spans: &[Span]) {
    let outside = OUTSIDE.trace_id.to_be_bytes();
    let trace =
        Trace(spans.iter().filter(|span| span.trace_id == outside).map(|span| (&*span.span_id, span)).collect());
    let mut ways: Vec<Vec<&str>> = trace.0.values().map(|span| trace.way_up(span)).collect();
    ways.sort();
    let expect: Vec<Vec<&str>> = vec![
        vec!["commit", "remember"],
        vec!["handle", "remember"],
        vec!["recall"],
        vec!["remember"],
        vec!["wait", "recall"],
        vec!["wait", "remember"],
        vec!["work", "recall"],
    ];
    assert_eq!(ways, expect);
    for span in trace.0.values().filter(|span| ["remember", "recall"].contains(&span.name.as_str())) {
        assert_eq!(span.parent_span_id, OUTSIDE.span_id.to_be_bytes());
        assert_eq!(text_of(&span.attributes, "space").as_deref(), Some("acme/support"));
        assert_eq!(text_of(&span.attributes, "principal").as_deref(), Some("user:ada"));
    }
    let work = trace.0.values().find(|span| span.name == "work").unwrap();
    assert!(text_of(&work.attributes, "rank_us").is_some(), "{:?}", work.attributes);
    // The durable step is nobody's alone, and both name each other.
    let commit = trace.0.values().find(|span| span.name == "commit").unwrap();
    let flush = spans.iter().find(|span| span.links.iter().any(|link| link.span_id == commit.span_id)).unwrap();
    assert_eq!(flush.name, "flush");
    assert_ne!(flush.trace_id, outside);
    assert!(commit.links.iter().any(|link| link.span_id == flush.span_id));

    let got = spans.iter().find(|span| span.name == "get").unwrap();
    assert!(got.parent_span_id.is_empty() && got.trace_id != outside);
    assert_eq!(text_of(&got.attributes, "error.type").as_deref(), Some("NotFound"));
    assert_eq!(got.status.as_ref().unwrap().code, 2);
}

fn check_metrics(request: &ExportMetricsServiceRequest) {
    let [kernel] = request.resource_metrics.as_slice() else { panic!("one kernel was watched") };
    let resource = &kernel.resource.as_ref().unwrap().attributes;
    assert_eq!(text_of(resource, "service.name").as_deref(), Some("memos"));
    let metrics: HashMap<&str, &Data> = kernel.scope_metrics[0]
        .metrics
        .iter()
        .map(|metric| (metric.name.as_str(), metric.data.as_ref().unwrap()))
        .collect();
    let Data::Histogram(flushes) = metrics["memos.commit.flush"] else { panic!("flushes are a histogram") };
    assert_eq!(flushes.data_points[0].count, 2);
    let Data::Histogram(latency) = metrics["memos.recall.latency"] else { panic!("latency is a histogram") };
    assert_eq!(latency.data_points[0].count, 1);
    assert!(latency.data_points[0].sum.unwrap() > 0.0);
    let Data::Sum(writes) = metrics["memos.space.writes"] else { panic!("writes are a sum") };
    assert_eq!(text_of(&writes.data_points[0].attributes, "memos.space").as_deref(), Some("acme/support"));
    assert!(metrics.contains_key("memos.governance") && metrics.contains_key("memos.actor.wait"));
}

#[test]
fn one_request_is_one_trace_and_a_dead_collector_delays_nobody() {
    let (address, taken) = collector();
    let trouble = Arc::<AtomicUsize>::default();
    let count = trouble.clone();
    let every = Duration::from_secs(3600);
    let sending = Sending::begin(Collector::at(&address).unwrap().every(every), move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    })
    .unwrap();
    sending.subscribe().unwrap();
    memos_runtime::block_on(async {
        work(&sending).await;
        Ok(())
    })
    .unwrap();
    sending.end(LONG);
    assert_eq!(trouble.load(Ordering::SeqCst), 0);
    let (mut spans, mut metrics) = (Vec::new(), Vec::new());
    while let Ok((path, body)) = taken.try_recv() {
        // Nothing of what is remembered goes out.
        assert!(!body.windows(7).any(|part| part == b"peanuts"));
        match path.as_str() {
            "/v1/traces" => {
                let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
                let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                spans.extend(scopes.flat_map(|scope| scope.spans));
            }
            "/v1/metrics" => metrics.push(ExportMetricsServiceRequest::decode(body.as_slice()).unwrap()),
            path => panic!("`{path}` is no path of OTLP"),
        }
    }
    check_spans(&spans);
    check_metrics(metrics.last().unwrap());
    a_dead_collector_is_told_once();
}

fn a_dead_collector_is_told_once() {
    // Nobody listens there any more.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let tell = told.clone();
    let every = Duration::from_millis(100);
    let sending = Sending::begin(Collector::at(&address).unwrap().every(every), move |trouble| {
        tell.lock().unwrap().push(trouble.to_owned());
    })
    .unwrap();
    memos_runtime::block_on(async {
        work(&sending).await;
        Ok(())
    })
    .unwrap();
    sending.end(Duration::from_secs(10));
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("cannot be sent to `127.0.0.1:"), "{told:?}");
}
