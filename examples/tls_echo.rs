//! An echo over TLS.
//!
//! What it teaches: TLS is a layer below a connection. The state machines are the same as without TLS. The listener has
//! the certificate, the connect has the authorities that the client trusts, and `opened` comes after the handshake. The
//! second connection of a client resumes the session, without certificates.
//!
//!     cargo run --features tls --example tls_echo
//!     cargo run --features tls --example tls_echo -- --listen 10443
//!     cargo run --features tls --example tls_echo -- --listen 10443 --cert chain.pem --key key.pem
//!
//! You should see, from a server and a client in one process,
//!
//!     TLSv1_3, a new session: run on past the end of the line
//!     TLSv1_3, a resumed session: run on past the end of the line
//!
//! With `--listen` it is only a server. Without `--cert`, it has a certificate for localhost that is made for tests,
//! and its key is public:
//!
//!     openssl s_client -quiet -connect localhost:10443 -verify_return_error -CAfile tests/certs/ca.pem
//!
//! At Ctrl-C or SIGTERM it sends its unsent output and exits with status 0, or with 1 if it had to cut off a client.

mod common;

use clap::Parser;
use common::messages::{Context, PerSecond};
use common::server::Shutdown;
use common::{messages, output, server, values};
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor, tls};
use log::Level;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{fs, io};

const LINE: &[u8] = b"run on past the end of the line";

/// The loop's state.
struct State {
    shutdown: Shutdown,
    /// Log messages about connections that fail.
    failures: PerSecond,
    /// The result of the client in this process.
    asked: io::Result<()>,
}

/// The same machine as without TLS.
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
            // For example, a client that rejects the certificate.
            PerSecond::say(cx, |state| &mut state.failures, format_args!("{error}"));
        }
        cx.state.shutdown.note(&end);
    }
}

/// Sends the line and prints the echo, on this many connections one after another.
struct Ask {
    address: SocketAddr,
    client: tls::Client,
    times: u32,
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
        cx.state.asked = match end.result {
            Ok(()) if times > 0 => Ask { times, ..*self }.start(cx),
            result => result,
        };
        if times == 0 || cx.state.asked.is_err() {
            cx.stop();
        }
    }
}

impl Ask {
    fn start(self, cx: &mut Cx<'_, State>) -> io::Result<()> {
        let client = self.client.clone();
        cx.connect(self.address, self).secure(&client, "localhost")
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = messages::queue_from("info");
    let identity = match identity(&args) {
        Ok(identity) => identity,
        Err(error) => return messages::show_wrong_usage(error),
    };
    messages::show_failure(match args.listen {
        Some(address) => serve(address, &identity),
        None => show(&identity).map_err(|error| error.to_string()),
    })
}

fn serve(address: SocketAddr, identity: &tls::Server) -> Result<ExitCode, String> {
    let mut reactor = Reactor::new().context("cannot make an event loop")?;
    let mut state = State::new();
    let mut cx = reactor.cx(&mut state);
    let address = listen(&mut cx, address, identity)
        .map_err(|error| server::cannot_listen(address, "--listen 0", &error))?;
    server::shut_down_at_signal(&mut cx, DRAIN_TIMEOUT, |cx| cx.state.shutdown.begin())?;
    output::queue().push(format!("listening on {address}\n"));
    reactor.run(&mut state).context("the event loop failed")?;
    Ok(state.shutdown.exit_status(DRAIN_TIMEOUT))
}

/// A server, and a client that connects twice.
fn show(identity: &tls::Server) -> io::Result<ExitCode> {
    let (mut reactor, mut state) = (Reactor::new()?, State::new());
    let mut cx = reactor.cx(&mut state);
    let address = listen(&mut cx, (Ipv4Addr::LOCALHOST, 0).into(), identity)?;
    let client = tls::Client::with_roots(AUTHORITY)?;
    Ask { address, client, times: 2 }.start(&mut cx)?;
    reactor.run(&mut state)?;
    Ok(output::exit_status(state.asked, ExitCode::SUCCESS))
}

fn listen(cx: &mut Cx<'_, State>, address: SocketAddr, identity: &tls::Server) -> io::Result<SocketAddr> {
    let mut listener = cx.listen(address, |_cx, _peer| Echo)?;
    listener.secure(identity);
    listener.local_addr()
}

/// At the end: how long the clients may take to receive their unsent output.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

impl State {
    fn new() -> Self {
        State { shutdown: Shutdown::default(), failures: PerSecond::new(Level::Info), asked: Ok(()) }
    }
}

/// Send all input back, over TLS
#[derive(Parser)]
struct Args {
    /// Where to listen, as [HOST:]PORT; port 0 takes any free one [default: run a server and a client in one process]
    #[arg(long, value_name = "ADDR", value_parser = values::listen_address)]
    listen: Option<SocketAddr>,
    /// The server's chain of certificates, in PEM [default: one for tests]
    #[arg(long, value_name = "FILE", requires_all = ["key", "listen"])]
    cert: Option<PathBuf>,
    /// The private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

const AUTHORITY: &str = include_str!("../tests/certs/ca.pem");

const CERTIFICATE: &str = include_str!("../tests/certs/localhost.pem");

const KEY: &str = include_str!("../tests/certs/localhost.key");

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
