//! Asks a WHOIS server, through a pool that uses each connection once.
//!
//! What it teaches: in WHOIS, the end of the connection is the end of the answer (RFC 3912). So a connection cannot be
//! used again, and a one-shot key tells the pool so. WHOIS declares no character set; this program reads ISO-8859-1,
//! which many servers send and which has a character for every byte.
//!
//!     cargo run --example whois -- example.org --server whois.iana.org
//!     cargo run --example whois -- example.org --fake       # offline: a server in the program answers
//!
//! You should see the record of the server.

mod common;

use clap::Parser;
use common::{messages, output, signals, values};
use enjamb::pool::{Config, Key, Pool, Reuse};
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor, Target};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::time::Duration;

/// A record has a few kilobytes. A server that sends more than this is not a WHOIS server.
const LONGEST_ANSWER: usize = 1 << 20;

#[derive(Default)]
struct Answer {
    text: String,
    failed: Option<io::Error>,
}

/// One query. The end of the connection is the end of the answer.
struct Whois {
    query: Query,
    server: Target,
}

impl Protocol<Answer> for Whois {
    fn opened(&mut self, conn: &mut Conn<'_, Answer>) -> io::Result<()> {
        conn.write(&self.query.0);
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, Answer>, input: &mut Input<'_>) -> io::Result<()> {
        // Every byte of ISO-8859-1 is the character of the same number.
        conn.state().text.extend(input.take_all().iter().copied().map(char::from));
        if conn.state().text.len() > LONGEST_ANSWER {
            let message =
                format!("{} sends more than {LONGEST_ANSWER} bytes: is it a WHOIS server?", self.server);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(())
    }

    fn ended(&mut self, conn: &mut Conn<'_, Answer>, _: &mut Input<'_>) -> io::Result<()> {
        if conn.state().text.is_empty() {
            let message = format!("{} closed without an answer: does it accept such queries?", self.server);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        conn.release(Reuse::Reusable); // the one-shot key overrides it
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Answer>, end: End) {
        cx.state.failed = end.result.err();
        cx.stop();
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    messages::show_from("warn");
    signals::exit_at_ctrl_c();
    let mut answer = Answer::default();
    if let Err(error) = ask(&args, &mut answer) {
        answer.failed = Some(error);
    }
    let printed = output::print(&answer.text);
    let status = messages::show_failure(answer.failed.map_or(Ok(ExitCode::SUCCESS), Err));
    output::exit_status(printed, status)
}

fn ask(args: &Args, answer: &mut Answer) -> io::Result<()> {
    let mut reactor = Reactor::new()?;
    let mut cx = reactor.cx(answer);
    let server = match &args.server {
        Some(server) => server.clone(),
        None => cx.listen((Ipv4Addr::LOCALHOST, 0), |_, _| Fake)?.local_addr()?.into(),
    };
    let pool = Pool::new(Config::default())?;
    let key = Key::new(&server).one_shot();
    pool.acquire(&mut cx, &key, Whois { query: args.query.clone(), server: server.clone() });
    cx.after(args.timeout, move |cx| {
        let message = format!("{server} did not end its answer in time: try a longer --timeout");
        cx.state.failed.get_or_insert(io::Error::new(io::ErrorKind::TimedOut, message));
        cx.stop();
    });
    reactor.run(answer)
}

/// Ask a WHOIS server
#[derive(Parser)]
struct Args {
    /// The query: a domain, an address, a handle
    #[arg(value_parser = query)]
    query: Query,
    /// The server, as HOST[:PORT]; the default port is 43
    #[arg(long, value_name = "HOST", value_parser = server, required_unless_present = "fake")]
    server: Option<Target>,
    /// Ask a server in this program
    #[arg(long, conflicts_with = "server")]
    fake: bool,
    /// How long the whole query may take
    #[arg(long, value_name = "D", default_value = "10s", value_parser = values::duration_from_ms(1), allow_hyphen_values = true)]
    timeout: Duration,
}

/// The port of WHOIS: RFC 3912, section 2.
const PORT: u16 = 43;

/// The line that goes to the server, in ISO-8859-1.
#[derive(Clone)]
struct Query(Vec<u8>);

fn query(text: &str) -> Result<Query, String> {
    if text.is_empty() || text.contains(['\r', '\n']) {
        return Err("expected one line that is not empty".to_string());
    }
    let line = text.chars().chain("\r\n".chars());
    let latin1: Option<Vec<u8>> = line.map(|c| u8::try_from(u32::from(c)).ok()).collect();
    latin1.map(Query).ok_or_else(|| {
        "has a character that is not in ISO-8859-1: write an international name in its xn-- form".into()
    })
}

fn server(text: &str) -> Result<Target, String> {
    let target = match text.parse::<IpAddr>() {
        Ok(ip) => Ok(Target::from((ip, PORT))),
        Err(_) if text.contains(':') => text.parse(),
        Err(_) => format!("{text}:{PORT}").parse(),
    };
    target.map_err(|error: io::Error| error.to_string())
}

/// The server in this program.
struct Fake;

impl Protocol<Answer> for Fake {
    fn received(&mut self, conn: &mut Conn<'_, Answer>, input: &mut Input<'_>) -> io::Result<()> {
        let Some(query) = input.take_line() else { return Ok(()) };
        match query {
            b"example.org" => conn.write(
                b"domain:       EXAMPLE.ORG\r\n\
                  organisation: Caf\xe9 Enjambement\r\n\
                  status:       bundled with the example\r\n",
            ),
            _ => conn.write(&[b"No match for \"", query, b"\".\r\n"].concat()),
        };
        conn.close();
        Ok(())
    }
}
