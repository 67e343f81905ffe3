//! Bytes to a collector: one request of HTTP/1.1 on one connection, with a bound on its time and on what is read of the answer.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::collector::Endpoint;

/// How often a request is made before its content is given up, and how long the second one is put off; the third waits twice as
/// long.
const TRIES: u32 = 3;
const DELAY: Duration = Duration::from_millis(500);
/// A collector that asks for more patience than this is asked anew with the next content.
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// The most that is read of an answer, whose first lines are all that matters.
const ANSWER_BYTES: u64 = 16 << 10;

/// Where trouble with a collector is told, once.
pub(super) struct Trouble {
    told: AtomicBool,
    report: Box<dyn Fn(&str) + Send + Sync>,
}

impl Trouble {
    pub(super) fn new(report: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { told: AtomicBool::new(false), report: Box::new(report) }
    }

    fn tell(&self, endpoint: &Endpoint, why: &str) {
        if !self.told.swap(true, Ordering::AcqRel) {
            let Endpoint { host, port, path } = endpoint;
            (self.report)(&format!(
                "telemetry cannot be sent to `{host}:{port}{path}`: {why}; memory works on without it, and this is said once"
            ));
        }
    }
}

/// The way to one endpoint.
pub(super) struct Post {
    endpoint: Endpoint,
    head: String,
    patience: Duration,
    ended: Arc<AtomicBool>,
    trouble: Arc<Trouble>,
    failures: AtomicU64,
}

enum Failure {
    /// Another try may do, after a while where the collector says so.
    Passing(String, Option<Duration>),
    Lasting(String),
}

impl Post {
    pub(super) fn new(
        endpoint: Endpoint,
        headers: Vec<(String, String)>,
        patience: Duration,
        ended: Arc<AtomicBool>,
        trouble: Arc<Trouble>,
    ) -> Self {
        let Endpoint { host, port, path } = &endpoint;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let mut head = format!("POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n");
        head.push_str(concat!("User-Agent: memos/", env!("CARGO_PKG_VERSION"), "\r\n"));
        head.push_str("Content-Type: application/x-protobuf\r\n");
        for (key, value) in headers {
            head.push_str(&format!("{key}: {value}\r\n"));
        }
        Self { endpoint, head, patience, ended, trouble, failures: AtomicU64::new(0) }
    }

    /// Sends content, if need be several times. It takes no longer than the collector's timeout for each.
    pub(super) fn send(&self, body: &[u8]) -> Result<(), String> {
        // A collector that did not answer before is not waited for more than once.
        let tries = if self.failures.load(Ordering::Relaxed) > 0 { 1 } else { TRIES };
        let mut delay = DELAY;
        for number in 1..=tries {
            let failure = match self.try_once(body) {
                Ok(()) => {
                    self.failures.store(0, Ordering::Relaxed);
                    return Ok(());
                }
                Err(failure) => failure,
            };
            let is_last = number == tries || self.ended.load(Ordering::Acquire);
            match failure {
                Failure::Passing(_, after) if !is_last => {
                    std::thread::sleep(after.unwrap_or(delay).min(LONGEST_DELAY));
                    delay *= 2;
                }
                Failure::Passing(why, _) | Failure::Lasting(why) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    self.trouble.tell(&self.endpoint, &why);
                    return Err(why);
                }
            }
        }
        Ok(())
    }

    fn try_once(&self, body: &[u8]) -> Result<(), Failure> {
        let passing = |e: std::io::Error| Failure::Passing(e.to_string(), None);
        let until = Instant::now() + self.patience;
        let mut stream = self.connect(until).map_err(passing)?;
        let left = |until: Instant| until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_write_timeout(Some(left(until))).map_err(passing)?;
        let head = format!("{}Content-Length: {}\r\n\r\n", self.head, body.len());
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).map_err(passing)?;
        let (mut answer, mut part) = (Vec::new(), [0; 1024]);
        // The status and what stands below it; nothing hangs on the rest.
        while !ends_head(&answer) && (answer.len() as u64) < ANSWER_BYTES {
            if Instant::now() >= until {
                return Err(Failure::Passing("it does not answer in time".to_owned(), None));
            }
            stream.set_read_timeout(Some(left(until))).map_err(passing)?;
            let read = stream.read(&mut part).map_err(passing)?;
            if read == 0 {
                break;
            }
            answer.extend(part.iter().take(read));
        }
        judge(&answer)
    }

    fn connect(&self, until: Instant) -> std::io::Result<TcpStream> {
        let mut failed = std::io::Error::other("its name leads nowhere");
        for address in (self.endpoint.host.as_str(), self.endpoint.port).to_socket_addrs()? {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

fn ends_head(answer: &[u8]) -> bool {
    answer.windows(4).any(|end| end == b"\r\n\r\n")
}

/// Says what an answer means, as OTLP has it: some codes ask for another try.
fn judge(answer: &[u8]) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(answer);
    let mut lines = text.lines();
    let status = lines.next().unwrap_or_default();
    let mut words = status.split(' ');
    let (protocol, code) = (words.next().unwrap_or_default(), words.next().and_then(|code| code.parse::<u16>().ok()));
    let Some(code) = code.filter(|_| protocol.starts_with("HTTP/1.")) else {
        return Err(Failure::Passing("what answers there does not speak HTTP".to_owned(), None));
    };
    match code {
        200..=299 => Ok(()),
        429 | 502 | 503 | 504 => {
            let after = lines.take_while(|line| !line.is_empty()).find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let seconds = name.trim().eq_ignore_ascii_case("retry-after").then(|| value.trim().parse().ok());
                seconds.flatten().map(Duration::from_secs)
            });
            Err(Failure::Passing(format!("it answers {code}"), after))
        }
        code => Err(Failure::Lasting(format!("it answers {code}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_otlp_says() {
        let wait = |seconds| Some(Some(Duration::from_secs(seconds)));
        for (answer, expect) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Ok(())),
            ("HTTP/1.0 202 Accepted\r\n\r\n", Ok(())),
            ("HTTP/1.1 503 Busy\r\nRetry-After: 3\r\n\r\n", Err(wait(3))),
            ("HTTP/1.1 429 Slow\r\nretry-after:7\r\n\r\n", Err(wait(7))),
            ("HTTP/1.1 503 Busy\r\nRetry-After: tomorrow\r\n\r\n", Err(Some(None))),
            ("HTTP/1.1 503 Busy\r\n\r\nRetry-After: 3\r\n", Err(Some(None))),
            ("HTTP/1.1 400 No\r\n\r\n", Err(None)),
            ("HTTP/1.1 404 No\r\n\r\n", Err(None)),
            ("SSH-2.0-OpenSSH\r\n", Err(Some(None))),
            ("", Err(Some(None))),
        ] {
            let judged = judge(answer.as_bytes()).map_err(|failure| match failure {
                Failure::Passing(_, after) => Some(after),
                Failure::Lasting(_) => None,
            });
            assert_eq!(judged, expect, "{answer:?}");
        }
    }
}
