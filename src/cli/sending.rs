//! Telemetry of the program: what kernels that it runs do is sent to a collector where the environment names one.

use memos::Result;
use memos::runtime::telemetry::Meters;

/// The variables that name a collector.
#[cfg(not(feature = "otlp"))]
const VARIABLES: [&str; 3] =
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"];

/// How long the program waits at its end until the rest is sent.
#[cfg(feature = "otlp")]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// What is sent until it is ended.
pub(super) struct Sending {
    #[cfg(feature = "otlp")]
    to: Option<memos::runtime::telemetry::otlp::Sending>,
}

impl Sending {
    /// Sends the rest, and ends.
    pub(super) fn end(self) {
        #[cfg(feature = "otlp")]
        if let Some(to) = self.to {
            to.end(PATIENCE);
        }
    }
}

/// Begins to send what a kernel does, where a collector is named.
#[cfg(feature = "otlp")]
pub(super) fn begin(meters: Meters) -> Result<Sending> {
    use memos::runtime::telemetry::otlp::{self, Collector};

    let Some(collector) = Collector::from_environment()? else { return Ok(Sending { to: None }) };
    let to = otlp::Sending::begin(collector, notice)?;
    to.subscribe()?;
    to.watch(meters);
    Ok(Sending { to: Some(to) })
}

/// Says where a collector is named that this program cannot send to.
#[cfg(not(feature = "otlp"))]
pub(super) fn begin(_: Meters) -> Result<Sending> {
    if let Some(variable) =
        VARIABLES.iter().find(|variable| std::env::var_os(variable).is_some_and(|set| !set.is_empty()))
    {
        notice(&format!("{variable} is set, and this program was built without `--features otlp`: nothing is sent"));
    }
    Ok(Sending {})
}

fn notice(trouble: &str) {
    use std::io::Write;

    // Where standard error is closed, nobody is there to be told.
    let _ = writeln!(std::io::stderr(), "{}", super::screen::printable(trouble));
}
