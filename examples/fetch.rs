//! Fetches URLs, all at once, through one session.
//!
//! What it teaches: a session of the HTTP client: connections that are kept and limited, redirects, a limit in time for
//! each thing that is waited for, and errors that say which URL, which server and how far it got. Bodies are taken as they
//! come: what comes before its turn is kept, and where that is much, its server is made to wait.
//!
//!     cargo run --features http,tls --example fetch -- https://example.org/
//!     cargo run --features http,tls --example fetch -- --limit-per-host 2 http://localhost:8000/a http://localhost:8000/b
//!     cargo run --features http,tls --example fetch -- -d name=ann -H 'Accept: text/plain' http://localhost:8000/form
//!
//! You should see the bodies on standard output, in the order of the arguments whichever comes first, and on standard
//! error a line for each URL and one for all:
//!
//!     status     bytes      time  URL
//!        200      1256    0.142s  https://example.org/
//!     1 of 1 fetched with 1 socket in 0.143s
//!
//! The exit status is 1 if any of them failed; an answer of any status is an answer.

#[path = "common/duration.rs"]
mod duration;
#[path = "common/interrupt.rs"]
mod interrupt;
#[path = "common/messages.rs"]
mod messages;
#[path = "common/output.rs"]
mod output;

use clap::Parser;
use enjamb::http::{Call, Config, Error, Failure, Head, Headers, Receiver, Request, Session, Url};
use enjamb::pool::Reason;
use enjamb::{Cx, Reactor, pool, tls};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Fetch URLs, all at once
#[derive(Parser)]
struct Args {
    /// What to fetch
    #[arg(value_name = "URL", required = true, value_parser = |text: &str| text.parse::<Url>())]
    urls: Vec<Url>,
    /// Send this with POST, as a form
    #[arg(short, long, value_name = "DATA")]
    data: Option<String>,
    /// Send this field too, as "NAME: VALUE"; may be repeated
    #[arg(short = 'H', long = "header", value_name = "FIELD", value_parser = field)]
    headers: Vec<(String, String)>,
    /// Write the bodies to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How long looking up a name, connecting, and the TLS handshake may take, each
    #[arg(long, value_name = "D", default_value = "10s", value_parser = duration::at_least_ms(1), allow_hyphen_values = true)]
    connect_timeout: Duration,
    /// How long a URL may take in all
    #[arg(long, value_name = "D", default_value = "1m", value_parser = duration::at_least_ms(1), allow_hyphen_values = true)]
    timeout: Duration,
    /// Most sockets at once
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = from_one, allow_negative_numbers = true)]
    limit: usize,
    /// Most sockets to one server at once
    #[arg(long, value_name = "N", value_parser = from_one, allow_negative_numbers = true)]
    limit_per_host: Option<usize>,
    /// Trust the certificates in this file (PEM), and no others
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Trust whoever answers
    #[arg(long)]
    insecure: bool,
}

/// How much of a page is kept that comes before its turn to be written.
const AHEAD: usize = 1024 * 1024;
/// How often those that are paused make way, if they must.
const MAKE_WAY: Duration = Duration::from_millis(100);

struct Run {
    start: Instant,
    pages: Vec<Page>,
    /// Whose turn it is to be written.
    turn: usize,
    /// Where to; `None` is standard output.
    file: Option<File>,
    /// How writing has ended.
    result: io::Result<()>,
}

#[derive(Default)]
struct Page {
    call: Option<Call<Run>>,
    /// Of its answer; 0 until that has begun.
    status: u16,
    /// What came before its turn.
    ahead: Vec<u8>,
    bytes: usize,
    /// How it has ended, and after how long.
    ended: Option<(Result<(), Failure>, Duration)>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    messages::show_from("info");
    interrupt::ends_the_program();
    let (session, requests, file) = match prepare(&args) {
        Ok(prepared) => prepared,
        Err(error) => {
            log::error!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut run = Run { start: Instant::now(), pages: Vec::new(), turn: 0, file, result: Ok(()) };
    if let Err(error) = fetch(&args, requests, &session, &mut run) {
        log::error!("{error}");
        return ExitCode::FAILURE;
    }
    let failed = run.pages.iter().any(|page| matches!(page.ended, Some((Err(_), _))));
    output::exit_status(run.result, if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
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
    let says_what_it_is = args.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if args.data.is_some() && !says_what_it_is {
        request = request.header("Content-Type", "application/x-www-form-urlencoded");
    }
    request.build()
}

fn fetch(args: &Args, requests: Vec<Request>, session: &Session<Run>, run: &mut Run) -> io::Result<()> {
    // Whoever reads slowly from us holds up the loop, and is meant to.
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

/// Takes the page of this number as it comes.
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

/// Lets all go on where the page whose turn it is waits for a place in the limits: those that are paused may have them
/// all. That it waits, a redirect may have brought about, of which nobody is told.
fn make_way(cx: &mut Cx<'_, Run>) {
    if cx.state.waits() {
        let calls: Vec<_> = cx.state.pages.iter().filter_map(|page| page.call.clone()).collect();
        calls.iter().for_each(|call| call.resume(cx));
    }
}

/// Writes what it is the turn of, and ends when all is written.
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
        cx.stop(); // idle connections are no reason to stay
    }
}

impl Run {
    /// Whether the page whose turn it is waits for a place in the limits.
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
                None => {} // nobody reads any more
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

fn from_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("expected a number from 1 up".to_string()),
    }
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME: VALUE")?;
    Ok((name.to_string(), value.trim().to_string()))
}
