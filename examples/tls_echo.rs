//! An echo over TLS.
//!
//! What it teaches: TLS goes under a connection. The machines on both sides are the same as without it; the listener and
//! the connect say who proves what to whom, and `opened` comes after the handshake. A client that comes again resumes its
//! session, without the certificates.
//!
//!     cargo run --features tls --example tls_echo
//!     cargo run --features tls --example tls_echo -- --listen 10443
//!     cargo run --features tls --example tls_echo -- --listen 10443 --cert chain.pem --key key.pem
//!
//! You should see, from a server and a client within the program,
//!
//!     TLSv1_3, a new session: run on past the end of the line
//!     TLSv1_3, a resumed session: run on past the end of the line
//!
//! With `--listen` it is a server only. Unless it is given a certificate, it shows one for localhost that is made for
//! tests, with a key that everybody knows:
//!
//!     openssl s_client -quiet -connect localhost:10443 -verify_return_error -CAfile tests/certs/ca.pem
//!
//! Ctrl-C or SIGTERM lets it send what it owes and exit with status 0.

#[path = "common/address.rs"]
mod address;
#[path = "common/line_queue.rs"]
mod line_queue;
#[path = "common/listening.rs"]
mod listening;
#[path = "common/orderly_end.rs"]
mod orderly_end;
#[path = "common/output.rs"]
mod output;
#[path = "common/per_second.rs"]
mod per_second;
#[path = "common/plain_messages.rs"]
mod plain_messages;
#[path = "common/server_log.rs"]
mod server_log;
#[path = "common/server_stdout.rs"]
mod server_stdout;

use clap::Parser;
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor, tls};
use log::Level;
use orderly_end::Ending;
use per_second::PerSecond;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{fs, io};

const AUTHORITY: &str = include_str!("../tests/certs/ca.pem");
const CERTIFICATE: &str = include_str!("../tests/certs/localhost.pem");
const KEY: &str = include_str!("../tests/certs/localhost.key");

const LINE: &[u8] = b"run on past the end of the line";
/// How long clients may take, when the server ends, to receive what they are owed.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Send back whatever comes, over TLS
#[derive(Parser)]
struct Args {
    /// Serve there, as [HOST:]PORT; port 0 takes any free one [default: show it with a client within the program]
    #[arg(long, value_name = "ADDR", value_parser = address::with_port(0..=65535))]
    listen: Option<SocketAddr>,
    /// The server's certificate and those above it, in PEM [default: one for tests]
    #[arg(long, value_name = "FILE", requires_all = ["key", "listen"])]
    cert: Option<PathBuf>,
    /// The private key to it, in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = server_log::start(plain_messages::from("info"));
    let server = match identity(&args) {
        Ok(server) => server,
        Err(error) => {
            log::error!("{error}");
            return ExitCode::from(2);
        }
    };
    let ended = match args.listen {
        Some(address) => {
            serve(address, &server).map_err(|error| listening::failure(address, &error, "--listen 0"))
        }
        None => show(&server).map_err(|error| error.to_string()),
    };
    ended.unwrap_or_else(|error| {
        log::error!("{error}");
        ExitCode::FAILURE
    })
}

fn identity(args: &Args) -> io::Result<tls::Server> {
    let (Some(cert), Some(key)) = (&args.cert, &args.key) else {
        if args.listen.is_some() {
            log::warn!("the certificate is one for tests: everybody has its key");
        }
        return tls::Server::new(CERTIFICATE, KEY);
    };
    let named =
        |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let read = |path: &Path| fs::read(path).map_err(|error| named(path, error));
    tls::Server::new(read(cert)?, read(key)?).map_err(|error| named(cert, error))
}

/// What the connections come to.
struct State {
    ending: Ending,
    /// Why connections have failed.
    failures: PerSecond,
    /// How the client within the program has ended.
    shown: io::Result<()>,
}

impl State {
    fn new() -> Self {
        State { ending: Ending::default(), failures: PerSecond::new(Level::Info), shown: Ok(()) }
    }
}

fn listen(cx: &mut Cx<'_, State>, address: SocketAddr, server: &tls::Server) -> io::Result<SocketAddr> {
    let mut listener = cx.listen(address, |_cx, _peer| Echo)?;
    listener.secure(server);
    listener.local_addr()
}

fn serve(address: SocketAddr, server: &tls::Server) -> io::Result<ExitCode> {
    let (mut reactor, mut state) = (Reactor::new()?, State::new());
    let mut cx = reactor.cx(&mut state);
    let address = listen(&mut cx, address, server)?;
    orderly_end::on_signal(&mut cx, DRAIN_TIMEOUT, |cx| cx.state.ending.begin())?;
    server_stdout::open().push(format!("listening on {address}\n"));
    reactor.run(&mut state)?;
    Ok(state.ending.status(DRAIN_TIMEOUT))
}

/// A server, and a client that comes twice.
fn show(server: &tls::Server) -> io::Result<ExitCode> {
    let (mut reactor, mut state) = (Reactor::new()?, State::new());
    let mut cx = reactor.cx(&mut state);
    let address = listen(&mut cx, (Ipv4Addr::LOCALHOST, 0).into(), server)?;
    let client = tls::Client::with_roots(AUTHORITY)?;
    Ask { address, client, times: 2 }.start(&mut cx)?;
    reactor.run(&mut state)?;
    Ok(output::exit_status(state.shown, ExitCode::SUCCESS))
}

/// A machine like any other.
struct Echo;

impl Protocol<State> for Echo {
    fn opened(&mut self, conn: &mut Conn<'_, State>) -> io::Result<()> {
        log::debug!("{}: {:?}", conn.peer_addr()?, conn.tls());
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, State>, input: &mut Input<'_>) -> io::Result<()> {
        conn.write(input.take_all());
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, State>, end: End) {
        if let Err(error) = &end.result {
            // A client that does not like the certificate says so here.
            PerSecond::say(cx, |state| &mut state.failures, format_args!("{error}"));
        }
        cx.state.ending.note(&end);
    }
}

/// Says the line, and shows what comes back; as often as it is to.
struct Ask {
    address: SocketAddr,
    client: tls::Client,
    times: u32,
}

impl Ask {
    fn start(self, cx: &mut Cx<'_, State>) -> io::Result<()> {
        let client = self.client.clone();
        cx.connect(self.address, self).secure(&client, "localhost")
    }
}

impl Protocol<State> for Ask {
    fn opened(&mut self, conn: &mut Conn<'_, State>) -> io::Result<()> {
        conn.write(LINE);
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, State>, input: &mut Input<'_>) -> io::Result<()> {
        if input.len() < LINE.len() {
            return Ok(());
        }
        let (line, handshake) = (String::from_utf8_lossy(input.take_all()), conn.tls());
        let handshake = handshake.ok_or(io::ErrorKind::NotConnected)?;
        let session = if handshake.resumed { "a resumed" } else { "a new" };
        output::print(&format!("{}, {session} session: {line}\n", handshake.version))?;
        conn.close();
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, State>, end: End) {
        let times = self.times - 1;
        cx.state.shown = match end.result {
            Ok(()) if times > 0 => Ask { times, ..*self }.start(cx),
            result => result,
        };
        if times == 0 || cx.state.shown.is_err() {
            cx.stop();
        }
    }
}
