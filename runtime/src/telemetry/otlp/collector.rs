//! Where a collector is, as OpenTelemetry's variables of the environment say.

use std::time::Duration;

use memos_memory::error::{Error, Result};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const METRICS: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
const DISABLED: &str = "OTEL_SDK_DISABLED";

/// The port of OTLP over HTTP.
const PORT: u16 = 4318;
/// What these variables are taken for when they are not set, by OpenTelemetry's own word.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
/// Longer ones would keep a program from ending, or from ever sending.
const LONGEST: Duration = Duration::from_secs(3600);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const MOST_HEADERS: usize = 32;
const MOST_BYTES: usize = 8192;

/// A place on the network that takes one kind of data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: String,
}

/// A collector, and how often and how long to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    pub(super) traces: Option<Endpoint>,
    pub(super) metrics: Option<Endpoint>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) patience: Duration,
    pub(super) every: Duration,
}

impl Collector {
    /// Returns the collector that the environment names by `OTEL_EXPORTER_OTLP_ENDPOINT`, or for one kind of data alone by
    /// `…_TRACES_ENDPOINT` and `…_METRICS_ENDPOINT`; none where none of them is set, or `OTEL_SDK_DISABLED` is `true`.
    ///
    /// # Errors
    /// `Invalid`, naming the variable, when one cannot be used.
    pub fn from_environment() -> Result<Option<Self>> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Returns the collector at an address, such as `http://localhost:4318`.
    ///
    /// # Errors
    /// `Invalid` when it is no address of plain HTTP.
    pub fn at(address: &str) -> Result<Self> {
        let collector = Self::from_variables(|name| (name == ENDPOINT).then(|| address.to_owned()))?;
        collector.ok_or_else(|| Error::invalid(format!("`{address}` names no collector")))
    }

    /// Sends metrics so often.
    pub fn every(self, every: Duration) -> Self {
        Self { every: every.clamp(SHORTEST_INTERVAL, LONGEST), ..self }
    }

    pub(super) fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        // A variable that is empty is as good as none, as OpenTelemetry has it.
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        if set(DISABLED).is_some_and(|disabled| disabled.trim().eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let place = |own: &str, path: &str| match (set(own), set(ENDPOINT)) {
            (Some(address), _) => Endpoint::parse(own, &address, None).map(Some),
            (None, Some(address)) => Endpoint::parse(ENDPOINT, &address, Some(path)).map(Some),
            (None, None) => Ok(None),
        };
        let (traces, metrics) = (place(TRACES, "v1/traces")?, place(METRICS, "v1/metrics")?);
        if traces.is_none() && metrics.is_none() {
            return Ok(None);
        }
        if let Some(protocol) = set(PROTOCOL)
            && protocol.trim() != "http/protobuf"
        {
            return Err(Error::invalid(format!("{PROTOCOL} is `{protocol}`, and only `http/protobuf` is spoken here")));
        }
        let headers = set(HEADERS).map_or_else(|| Ok(Vec::new()), |headers| read_headers(&headers))?;
        let time = |name: &str, otherwise: Duration| match set(name) {
            None => Ok(otherwise),
            Some(millis) => millis.trim().parse().map(Duration::from_millis).map_err(|e| {
                Error::invalid(format!("{name} is `{millis}`, and must be a number of milliseconds")).with_source(e)
            }),
        };
        let patience = time(TIMEOUT, DEFAULT_TIMEOUT)?.clamp(Duration::from_millis(1), LONGEST);
        let every = time(INTERVAL, DEFAULT_INTERVAL)?.clamp(SHORTEST_INTERVAL, LONGEST);
        Ok(Some(Self { traces, metrics, headers, patience, every }))
    }
}

impl Endpoint {
    /// Reads an address. A path is added to one that names the collector as a whole.
    fn parse(variable: &str, address: &str, add: Option<&str>) -> Result<Self> {
        let address = address.trim();
        let wrong = |why: &str| Error::invalid(format!("{variable} is `{address}`: {why}"));
        if address.len() > MOST_BYTES || address.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(wrong("it is too long, or has blanks"));
        }
        let rest = match address.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err(wrong("there is no TLS here; name a collector on this machine by `http://`"));
            }
            _ => return Err(wrong("it must begin with `http://`")),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') || rest.contains(['?', '#']) {
            return Err(wrong("it must be a host, a port and a path, and nothing else"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            // A colon within brackets belongs to an address of IPv6.
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| wrong("its port is no number below 65536"))?)
            }
            _ => (authority, PORT),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        let path = match add {
            Some(add) => format!("{}/{add}", path.trim_end_matches('/')),
            None if path.is_empty() => "/".to_owned(),
            None => path.to_owned(),
        };
        Ok(Self { host: host.to_owned(), port, path })
    }
}

/// Reads headers as `key=value,key=value`, the values percent-encoded.
fn read_headers(headers: &str) -> Result<Vec<(String, String)>> {
    let wrong = |why: &str| Error::invalid(format!("{HEADERS} cannot be used: {why}"));
    if headers.len() > MOST_BYTES {
        return Err(wrong("it is too long"));
    }
    let mut read = Vec::new();
    for header in headers.split(',').map(str::trim).filter(|header| !header.is_empty()) {
        // Values may be secrets, and are not shown.
        let (key, value) = header.split_once('=').ok_or_else(|| wrong("a header must be `key=value`"))?;
        let (key, value) = (key.trim(), decode(value.trim()).ok_or_else(|| wrong("a value is not percent-encoded"))?);
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if key.is_empty() || !key.chars().all(is_token) || !value.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
            return Err(wrong("a header has characters that none may have"));
        }
        read.push((key.to_owned(), value));
    }
    if read.len() > MOST_HEADERS {
        return Err(wrong(&format!("there are more than {MOST_HEADERS} headers")));
    }
    Ok(read)
}

fn decode(value: &str) -> Option<String> {
    let (mut decoded, mut bytes) = (Vec::with_capacity(value.len()), value.bytes());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let (high, low) = (char::from(bytes.next()?).to_digit(16)?, char::from(bytes.next()?).to_digit(16)?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Collector>> {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Collector::from_variables(find)
    }

    #[test]
    fn nothing_is_sent_unless_it_is_configured() {
        for variables in [
            &[][..],
            &[(ENDPOINT, " ")],
            &[(TIMEOUT, "nonsense"), (HEADERS, "nonsense")],
            &[(ENDPOINT, "http://localhost:4318"), (DISABLED, "True")],
        ] {
            assert_eq!(of(variables).unwrap(), None, "{variables:?}");
        }
    }

    #[test]
    fn addresses_are_read() {
        for (address, host, port, path) in [
            ("http://localhost:4318", "localhost", 4318, "/v1/traces"),
            ("http://localhost:4318/", "localhost", 4318, "/v1/traces"),
            ("HTTP://collector", "collector", 4318, "/v1/traces"),
            ("http://[::1]:9/otel/", "::1", 9, "/otel/v1/traces"),
            ("http://[::1]", "::1", 4318, "/v1/traces"),
        ] {
            let traces = of(&[(ENDPOINT, address)]).unwrap().unwrap().traces.unwrap();
            assert_eq!((traces.host.as_str(), traces.port, traces.path.as_str()), (host, port, path), "{address}");
        }
        let own = of(&[(TRACES, "http://here/as-it-is")]).unwrap().unwrap();
        assert_eq!((own.traces.unwrap().path.as_str(), own.metrics), ("/as-it-is", None));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (name, value, says) in [
            (ENDPOINT, "https://collector:4318", "no TLS"),
            (ENDPOINT, "collector:4318", "must begin with"),
            (ENDPOINT, "http://", "no host"),
            (ENDPOINT, "http://c:99999", "port"),
            (ENDPOINT, "http://me:secret@c", "nothing else"),
            (ENDPOINT, "http://c/a b", "blanks"),
            (HEADERS, "api-key", "key=value"),
            (HEADERS, "a=%0d%0ab: c", "characters"),
            (HEADERS, "a=%2", "percent"),
            (TIMEOUT, "soon", "milliseconds"),
            (PROTOCOL, "grpc", "http/protobuf"),
        ] {
            let refused = of(&[(name, value), (TRACES, "http://localhost"), (METRICS, "http://localhost")]);
            let refused = if name == ENDPOINT { of(&[(name, value)]) } else { refused };
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(name) && refused.contains(says), "{refused}");
        }
    }

    #[test]
    fn headers_are_decoded() {
        let headers = read_headers("api-key=a%20b%3D, x-scope = 7,").unwrap();
        assert_eq!(headers, [("api-key".to_owned(), "a b=".to_owned()), ("x-scope".to_owned(), "7".to_owned())]);
    }
}
