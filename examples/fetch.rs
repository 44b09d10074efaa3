//! Fetches URLs, all at once, through one session.
//!
//! What it teaches: a session of the HTTP client keeps and limits connections, follows redirects, and has a timeout for
//! each step. An error names the URL, the server and the step. Bodies are streams: a body that comes before its turn is
//! buffered, and if the buffer is full, the session stops reading from that server.
//!
//!     cargo run --features http,tls --example fetch -- https://example.org/
//!     cargo run --features http,tls --example fetch -- --limit-per-host 2 http://localhost:8000/a http://localhost:8000/b
//!     cargo run --features http,tls --example fetch -- -d name=ann -H 'Accept: text/plain' http://localhost:8000/form
//!
//! You should see the bodies on standard output, in the order of the arguments. On standard error you should see a line
//! for each URL and a sum:
//!
//!     status     bytes      time  URL
//!        200      1256    0.142s  https://example.org/
//!     1 of 1 fetched with 1 socket in 0.143s
//!
//! The exit status is 1 if a URL failed. An answer is no failure, also with a status such as 404.

mod common;

use clap::Parser;
use common::{messages, output, signals, values};
use enjamb::http::{Call, Config, Error, Failure, Head, Headers, Receiver, Request, Session, Url};
use enjamb::pool::Reason;
use enjamb::{Cx, Reactor, pool, tls};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The buffer for a page that comes before its turn.
const AHEAD: usize = 1024 * 1024;

/// How often the program looks for a page that waits for the limits: see [`make_way`].
const MAKE_WAY: Duration = Duration::from_millis(100);

struct Run {
    start: Instant,
    pages: Vec<Page>,
    /// The page that is written now.
    turn: usize,
    /// The output file; `None` for standard output.
    file: Option<File>,
    /// The first error of a write.
    result: io::Result<()>,
}

#[derive(Default)]
struct Page {
    call: Option<Call<Run>>,
    /// The status of the answer; 0 before the answer.
    status: u16,
    /// The bytes that came before its turn.
    ahead: Vec<u8>,
    bytes: usize,
    /// The result, and the time since the start.
    ended: Option<(Result<(), Failure>, Duration)>,
}

/// Receives the page with this index.
struct Fetch {
    index: usize,
}

impl Receiver<Run> for Fetch {
    fn head(&mut self, cx: &mut Cx<'_, Run>, _: &Call<Run>, head: Head) -> io::Result<()> {
        cx.state.pages[self.index].status = head.status;
        Ok(())
    }

    fn data(&mut self, cx: &mut Cx<'_, Run>, call: &Call<Run>, data: &[u8]) -> io::Result<()> {
        let (turn, run) = (cx.state.turn, &mut *cx.state);
        run.pages[self.index].bytes += data.len();
        if self.index == turn {
            run.write(data);
            go_on(cx);
            return Ok(());
        }
        let ahead = &mut run.pages[self.index].ahead;
        ahead.extend_from_slice(data);
        if ahead.len() >= AHEAD && !run.waits() {
            call.pause(cx);
        }
        Ok(())
    }

    fn end(self: Box<Self>, cx: &mut Cx<'_, Run>, result: Result<Headers, Failure>) {
        let took = cx.state.start.elapsed();
        cx.state.pages[self.index].ended = Some((result.map(drop), took));
        go_on(cx);
    }
}

/// Writes the page whose turn it is. When it has ended, goes on with the next page. Stops after the last one.
fn go_on(cx: &mut Cx<'_, Run>) {
    while let Some(page) = cx.state.pages.get_mut(cx.state.turn) {
        let (ahead, has_ended) = (std::mem::take(&mut page.ahead), page.ended.is_some());
        let call = page.call.clone();
        cx.state.write(&ahead);
        if !has_ended {
            call.into_iter().for_each(|call| call.resume(cx));
            break;
        }
        cx.state.turn += 1;
    }
    if cx.state.turn == cx.state.pages.len() || cx.state.result.is_err() {
        cx.stop(); // the session still has idle connections
    }
}

/// Avoids a deadlock: the current page may wait for a connection while paused pages have all that the limits allow.
/// Then this resumes the paused pages. A timer calls it, because no callback tells that a redirect makes the current
/// page wait.
fn make_way(cx: &mut Cx<'_, Run>) {
    if cx.state.waits() {
        let calls: Vec<_> = cx.state.pages.iter().filter_map(|page| page.call.clone()).collect();
        calls.iter().for_each(|call| call.resume(cx));
    }
}

impl Run {
    /// Whether the current page waits for a connection under the limits.
    fn waits(&self) -> bool {
        let page = self.pages.get(self.turn);
        page.and_then(|page| page.call.as_ref()).is_some_and(Call::is_waiting)
    }

    fn write(&mut self, data: &[u8]) {
        if self.result.is_ok() && !data.is_empty() {
            self.result = match &mut self.file {
                Some(file) => file.write_all(data),
                None => output::print(data),
            };
        }
    }

    fn report(&self, urls: &[Url], sockets: u64) {
        log::info!("status     bytes      time  URL");
        let mut good = 0;
        for (url, page) in urls.iter().zip(&self.pages) {
            let bytes = page.bytes;
            match &page.ended {
                Some((Ok(()), took)) => {
                    good += 1;
                    log::info!("{:>6}{bytes:>10}{:>9.3}s  {url}", page.status, took.as_secs_f64());
                }
                Some((Err(_), took)) => {
                    log::info!("failed{bytes:>10}{:>9.3}s  {url}", took.as_secs_f64());
                }
                None => {} // writing has failed before its end
            }
        }
        for page in &self.pages {
            if let Some((Err(failure), _)) = &page.ended {
                log::error!("{failure}");
            }
        }
        let (all, noun) = (urls.len(), if sockets == 1 { "socket" } else { "sockets" });
        let elapsed = self.start.elapsed().as_secs_f64();
        log::info!("{good} of {all} fetched with {sockets} {noun} in {elapsed:.3}s");
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    messages::show_from("info");
    signals::exit_at_ctrl_c();
    let (session, requests, file) = match prepare(&args) {
        Ok(prepared) => prepared,
        Err(error) => return messages::show_wrong_usage(error),
    };
    let mut run = Run { start: Instant::now(), pages: Vec::new(), turn: 0, file, result: Ok(()) };
    let fetched = fetch(&args, requests, &session, &mut run);
    messages::show_failure(fetched.map(|()| {
        let failed = run.pages.iter().any(|page| matches!(page.ended, Some((Err(_), _))));
        output::exit_status(run.result, if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }))
}

fn fetch(args: &Args, requests: Vec<Request>, session: &Session<Run>, run: &mut Run) -> io::Result<()> {
    // A slow reader of the output blocks the loop, on purpose. So a slow callback needs no warning.
    let mut reactor =
        Reactor::with_config(enjamb::Config { slow_callback: Duration::MAX, ..enjamb::Config::default() })?;
    run.pages.resize_with(args.urls.len(), Page::default);
    let mut cx = reactor.cx(run);
    for (index, request) in requests.into_iter().enumerate() {
        let call = session.stream(&mut cx, request, Fetch { index });
        cx.state.pages[index].call = Some(call);
    }
    cx.every(MAKE_WAY, make_way);
    reactor.run(run)?;
    if run.result.is_ok() {
        let stats = session.pool().snapshot().stats;
        run.report(&args.urls, stats.opened - stats.closed(Reason::Unconnected));
    }
    Ok(())
}

fn prepare(args: &Args) -> io::Result<(Session<Run>, Vec<Request>, Option<File>)> {
    let requests: Result<_, Error> = args.urls.iter().map(|url| request(args, url)).collect();
    let requests = requests?;
    let named = |path: &PathBuf, error: io::Error| {
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    };
    let tls = match &args.ca {
        Some(path) => {
            let pem = fs::read(path).map_err(|error| named(path, error))?;
            tls::Client::with_roots(pem).map_err(|error| named(path, error))?
        }
        None if args.insecure => {
            log::warn!("--insecure: whoever answers is trusted, and may read and change everything");
            tls::Client::insecure()
        }
        None => tls::Client::new(),
    };
    let pool = pool::Config {
        limit: Some(args.limit),
        limit_per_host: args.limit_per_host,
        resolve_timeout: Some(args.connect_timeout),
        connect_timeout: Some(args.connect_timeout),
        tls_timeout: Some(args.connect_timeout),
        ..pool::Config::default()
    };
    let session = Session::new(Config { pool, total: Some(args.timeout), tls, ..Config::default() })?;
    let create = |path| File::create(path).map_err(|error| named(path, error));
    Ok((session, requests, args.output.as_ref().map(create).transpose()?))
}

fn request(args: &Args, url: &Url) -> Result<Request, Error> {
    let mut request = match &args.data {
        Some(data) => Request::post(url).body(data.as_bytes()),
        None => Request::get(url),
    };
    for (name, value) in &args.headers {
        request = request.header(name, value);
    }
    let has_type = args.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if args.data.is_some() && !has_type {
        request = request.header("Content-Type", "application/x-www-form-urlencoded");
    }
    request.build()
}

/// Fetch URLs, all at once
#[derive(Parser)]
struct Args {
    /// The URLs to fetch
    #[arg(value_name = "URL", required = true, value_parser = |text: &str| text.parse::<Url>())]
    urls: Vec<Url>,
    /// Send this with POST, as a form
    #[arg(short, long, value_name = "DATA")]
    data: Option<String>,
    /// Send this header field, as "NAME: VALUE"; may be repeated
    #[arg(short = 'H', long = "header", value_name = "FIELD", value_parser = field)]
    headers: Vec<(String, String)>,
    /// Write the bodies to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How long the look-up, the connect and the TLS handshake may each take
    #[arg(long, value_name = "D", default_value = "10s", value_parser = values::duration_from_ms(1), allow_hyphen_values = true)]
    connect_timeout: Duration,
    /// How long a URL may take in total
    #[arg(long, value_name = "D", default_value = "1m", value_parser = values::duration_from_ms(1), allow_hyphen_values = true)]
    timeout: Duration,
    /// The most sockets at once
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = values::number_of("sockets", 1..), allow_negative_numbers = true)]
    limit: usize,
    /// The most sockets to one server at once
    #[arg(long, value_name = "N", value_parser = values::number_of("sockets", 1..), allow_negative_numbers = true)]
    limit_per_host: Option<usize>,
    /// Trust the certificates in this file (PEM), and no others
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Trust every server
    #[arg(long)]
    insecure: bool,
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME: VALUE")?;
    Ok((name.to_string(), value.trim().to_string()))
}
