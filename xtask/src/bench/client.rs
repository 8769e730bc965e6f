//! The load client: bounded counts, keep-alive HTTP/1.1 over plain TCP, one request in flight per connection, as
//! Logplex has it. Closed loop, or a fixed rate with latency counted from the time a request was due, so that a
//! stalled server is not flattered.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use bytes::Buf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::set::{Request, Set};

const RESPONSE_BYTES_MAX: usize = 64 << 10;

/// What to send, where, how fast.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    /// In all; the set's bodies in order, again from the start when they run out.
    pub(crate) requests: usize,
    pub(crate) connections: usize,
    /// From the due time of one request to that of the next; `None` is as fast as answers come.
    pub(crate) every: Option<Duration>,
}

impl Plan {
    pub(crate) fn closed_loop(address: SocketAddr, requests: usize, connections: usize) -> Self {
        Plan { address, requests, connections, every: None }
    }
}

/// What came of it. Only 2xx answers get this far.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) lines: u64,
    pub(crate) wall: Duration,
    /// Of batches that hold a line some rule counts: answered after a commit.
    pub(crate) matched: Latencies,
    pub(crate) unmatched: Latencies,
    refused: BTreeMap<u16, u64>,
    io_errors: u64,
}

/// Answer times in microseconds.
#[derive(Debug, Default, Clone)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    /// The time below which this share of the answers lies; 0 without answers.
    pub(crate) fn quantile(&self, share: f64) -> u32 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        let index = ((sorted.len() as f64 * share) as usize).min(last);
        sorted.get(index).copied().unwrap_or(0)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Outcome {
    pub(crate) fn all(&self) -> Latencies {
        Latencies([self.matched.0.as_slice(), self.unmatched.0.as_slice()].concat())
    }

    fn merge(&mut self, other: Outcome) {
        self.lines += other.lines;
        self.matched.0.extend(other.matched.0);
        self.unmatched.0.extend(other.unmatched.0);
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
        self.io_errors += other.io_errors;
    }

    fn record(&mut self, request: &Request, answer: Result<u16>, took: Duration) {
        match answer {
            Ok(200..300) => {
                self.lines += request.lines;
                let latencies = if request.matches { &mut self.matched } else { &mut self.unmatched };
                latencies.0.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
            }
            Ok(status) => *self.refused.entry(status).or_default() += 1,
            Err(_) => self.io_errors += 1,
        }
    }
}

/// Carries the plan out.
///
/// # Errors
/// When any answer is not a 2xx or any connection breaks: a figure with losses in it means nothing.
pub(crate) async fn run(set: &Arc<Set>, plan: &Plan) -> Result<Outcome> {
    let shared = Arc::new(Shared {
        set: Arc::clone(set),
        plan: *plan,
        next: AtomicUsize::new(0),
        start: Instant::now(),
        // Another base for every run: no Frame-Id ever comes twice.
        frame_id_base: SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos(),
    });
    let mut connections = JoinSet::new();
    for _ in 0..plan.connections.max(1) {
        connections.spawn(connection(Arc::clone(&shared)));
    }
    let mut outcome = Outcome::default();
    while let Some(part) = connections.join_next().await {
        outcome.merge(part?);
    }
    outcome.wall = shared.start.elapsed();
    ensure!(
        outcome.refused.is_empty() && outcome.io_errors == 0,
        "{}: {} requests, answers other than 2xx: {:?}, broken connections: {}",
        plan.address,
        plan.requests,
        outcome.refused,
        outcome.io_errors
    );
    Ok(outcome)
}

struct Shared {
    set: Arc<Set>,
    plan: Plan,
    next: AtomicUsize,
    start: Instant,
    frame_id_base: u128,
}

async fn connection(shared: Arc<Shared>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut stream = None;
    let mut buffer = Vec::with_capacity(4_096);
    loop {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if number >= shared.plan.requests {
            return outcome;
        }
        let mut due = Instant::now();
        if let Some(every) = shared.plan.every {
            due = shared.start + every.mul_f64(number as f64);
            tokio::time::sleep_until(due).await;
        }
        let request = shared.set.request(number);
        let answer = exchange(&shared, &mut stream, request, number, &mut buffer).await;
        outcome.record(request, answer, due.elapsed());
    }
}

/// Sends one request and reads its answer. The connection is kept unless the server says otherwise or something broke.
async fn exchange(
    shared: &Shared,
    kept: &mut Option<TcpStream>,
    request: &Request,
    number: usize,
    buffer: &mut Vec<u8>,
) -> Result<u16> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(shared.plan.address).await?;
            stream.set_nodelay(true)?;
            stream
        }
    };
    let (head, after_frame_id, body) = shared.set.parts(request);
    let frame_id = format!("{:032X}", shared.frame_id_base + number as u128);
    let start = Buf::chain(head, frame_id.as_bytes());
    let mut whole = Buf::chain(Buf::chain(start, after_frame_id), body);
    stream.write_all_buf(&mut whole).await?;
    let (status, keep) = read_answer(&mut stream, buffer).await?;
    if keep {
        *kept = Some(stream);
    }
    Ok(status)
}

/// Reads one answer: its status, and whether the connection may be used again. As simple as Logplex's own reader,
/// which knows nothing of chunks; the server must be plain enough for it.
async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(u16, bool)> {
    buffer.clear();
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, buffer).await?;
    };
    let head = Head::parse(std::str::from_utf8(&buffer[..head_end])?)?;
    while buffer.len() < head_end + head.body_bytes {
        more(stream, buffer).await?;
    }
    Ok((head.status, head.keep))
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<()> {
    ensure!(buffer.len() <= RESPONSE_BYTES_MAX, "an answer of more than 64 KiB");
    if stream.read_buf(buffer).await? == 0 {
        bail!("closed in the middle of an answer");
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    keep: bool,
    body_bytes: usize,
}

impl Head {
    fn parse(text: &str) -> Result<Self> {
        let status = text
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .context("no HTTP/1.1 status line")?;
        let mut head = Head { status, keep: true, body_bytes: 0 };
        for (name, value) in text.split("\r\n").skip(1).filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("transfer-encoding") {
                bail!("an answer in chunks, which Logplex cannot read");
            } else if name.eq_ignore_ascii_case("connection") {
                head.keep = !value.eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("content-length") && status != 204 {
                head.body_bytes = value.parse().context("content-length")?;
            }
        }
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::super::set::tests::two_requests;
    use super::*;

    #[test]
    fn quantiles_of_few_and_many() {
        assert_eq!(Latencies::default().quantile(0.99), 0);
        let hundred = Latencies((1..=100).rev().collect());
        assert_eq!((hundred.quantile(0.5), hundred.quantile(0.99), hundred.quantile(1.0)), (51, 100, 100));
    }

    #[test]
    fn heads_are_read_or_refused() {
        let check = |text: &str, want: Option<Head>| assert_eq!(Head::parse(text).ok(), want, "{text}");
        let head = |status, keep, body_bytes| Some(Head { status, keep, body_bytes });
        check("HTTP/1.1 204 No Content\r\n\r\n", head(204, true, 0));
        check("HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n", head(200, true, 12));
        check("HTTP/1.1 503 x\r\nConnection: close\r\nContent-Length: 3\r\n\r\n", head(503, false, 3));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None);
        check("HTTP/1.0 200 OK\r\n\r\n", None);
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    /// Answers every request on every connection and gives back what it was sent.
    async fn answer_all(listener: TcpListener, answer: &'static str) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while stream.read_buf(&mut seen).await.unwrap_or(0) > 0 {
                    if seen.ends_with(b"at=info\n") {
                        seen.clear();
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                }
            });
        }
    }

    async fn run_against(answer: &'static str, every: Option<Duration>) -> Result<Outcome> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut plan = Plan::closed_loop(listener.local_addr().unwrap(), 7, 2);
        plan.every = every;
        tokio::spawn(answer_all(listener, answer));
        run(&Arc::new(two_requests()), &plan).await
    }

    #[test]
    fn every_request_is_sent_once_and_told_apart() {
        let plain = "HTTP/1.1 204 No Content\r\n\r\n";
        let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
        for (answer, every) in [(plain, None), (closing, None), (plain, Some(Duration::from_millis(1)))] {
            let outcome = block_on(run_against(answer, every)).unwrap();
            assert_eq!((outcome.lines, outcome.matched.len(), outcome.unmatched.len()), (7, 4, 3));
        }
    }

    #[test]
    fn a_refusal_spoils_the_run() {
        let error = block_on(run_against("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", None)).unwrap_err();
        assert!(error.to_string().contains("{503: 7}"), "{error}");
    }
}
