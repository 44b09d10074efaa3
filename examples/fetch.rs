//! Fetches URLs, all at once, through one session.
//!
//! What it teaches: a session of the HTTP client: connections that are kept and limited, redirects, a limit in time for
//! each thing that is waited for, and errors that say which URL, which server and how far it got.
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
use enjamb::http::{Config, Failure, Request, Response, Session, Url};
use enjamb::{Reactor, pool, tls};
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
    /// How long looking up a name and connecting may take
    #[arg(long, value_name = "D", default_value = "10s", value_parser = duration::at_least_ms(1), allow_hyphen_values = true)]
    connect_timeout: Duration,
    /// How long a URL may take in all
    #[arg(long, value_name = "D", default_value = "1m", value_parser = duration::at_least_ms(1), allow_hyphen_values = true)]
    timeout: Duration,
    /// Most sockets at once
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Most sockets to one server at once
    #[arg(long, value_name = "N")]
    limit_per_host: Option<usize>,
    /// Trust the certificates in this file (PEM), and no others
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Trust whoever answers
    #[arg(long)]
    insecure: bool,
}

/// What came of one URL, and after how long.
type Fetched = (Result<Response, Failure>, Duration);

struct Run {
    fetched: Vec<Option<Fetched>>,
    /// How many bodies are written.
    written: usize,
    /// Where to; `None` is standard output.
    file: Option<File>,
    /// How writing has ended.
    result: io::Result<()>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    messages::show_from("info");
    interrupt::ends_the_program();
    let (session, file) = match prepare(&args) {
        Ok(prepared) => prepared,
        Err(error) => {
            log::error!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut run = Run { fetched: Vec::new(), written: 0, file, result: Ok(()) };
    if let Err(error) = fetch(&args, &session, &mut run) {
        log::error!("{error}");
        return ExitCode::FAILURE;
    }
    let failed = run.fetched.iter().flatten().any(|(result, _)| result.is_err());
    output::exit_status(run.result, if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn prepare(args: &Args) -> io::Result<(Session<Run>, Option<File>)> {
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
        connect_timeout: Some(args.connect_timeout),
        ..pool::Config::default()
    };
    let session = Session::new(Config { pool, total: Some(args.timeout), tls, ..Config::default() })?;
    let create = |path| File::create(path).map_err(|error| named(path, error));
    Ok((session, args.output.as_ref().map(create).transpose()?))
}

fn fetch(args: &Args, session: &Session<Run>, run: &mut Run) -> io::Result<()> {
    let (mut reactor, start) = (Reactor::new()?, Instant::now());
    run.fetched.resize_with(args.urls.len(), || None);
    let mut cx = reactor.cx(run);
    for (index, url) in args.urls.iter().enumerate() {
        let mut request = match &args.data {
            Some(data) => Request::post(url)
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body(data.as_bytes()),
            None => Request::get(url),
        };
        for (name, value) in &args.headers {
            request = request.header(name, value);
        }
        session.send(&mut cx, request, move |cx, result| {
            cx.state.fetched[index] = Some((result, start.elapsed()));
            cx.state.write();
            if cx.state.written == cx.state.fetched.len() || cx.state.result.is_err() {
                cx.stop(); // idle connections are no reason to stay
            }
        });
    }
    reactor.run(run)?;
    run.report(&args.urls, session.pool().snapshot().stats.opened, start.elapsed());
    Ok(())
}

impl Run {
    /// Writes the bodies that have come, as far as all before them have.
    fn write(&mut self) {
        while let Some(Some((result, _))) = self.fetched.get(self.written) {
            self.written += 1;
            if let (Ok(response), Ok(())) = (result, &self.result) {
                self.result = match &mut self.file {
                    Some(file) => file.write_all(&response.body),
                    None => output::print(&response.body),
                };
            }
        }
    }

    fn report(&self, urls: &[Url], sockets: u64, elapsed: Duration) {
        log::info!("status     bytes      time  URL");
        let mut good = 0;
        for (url, fetched) in urls.iter().zip(&self.fetched) {
            match fetched {
                Some((Ok(response), took)) => {
                    good += 1;
                    let (bytes, took) = (response.body.len(), took.as_secs_f64());
                    log::info!("{:>6}{bytes:>10}{took:>9.3}s  {url}", response.status);
                }
                Some((Err(failure), took)) => {
                    log::info!("failed{:>10}{:>9.3}s  {url}", failure.received, took.as_secs_f64());
                }
                None => {} // nobody reads any more
            }
        }
        for (result, _) in self.fetched.iter().flatten() {
            if let Err(failure) = result {
                log::error!("{failure}");
            }
        }
        let (all, noun) = (urls.len(), if sockets == 1 { "socket" } else { "sockets" });
        log::info!("{good} of {all} fetched with {sockets} {noun} in {:.3}s", elapsed.as_secs_f64());
    }
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME: VALUE")?;
    // Whatever is wrong with it is found here, and not once for each URL.
    let request = Request::get("http://localhost/").header(name, value.trim());
    request.build().map_err(|error| error.to_string())?;
    Ok((name.to_string(), value.trim().to_string()))
}
