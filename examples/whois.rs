//! Asks a WHOIS server, by way of a pool whose connections are used once.
//!
//! What it teaches: a protocol in which the end of the connection is the end of the answer (RFC 3912), so that nothing
//! can be used again: a one-shot key says so. What WHOIS sends has no declared character set; ISO-8859-1 is what most
//! servers mean, and takes every byte.
//!
//!     cargo run --example whois -- example.org --server whois.iana.org
//!     cargo run --example whois -- example.org --fake       # offline: a bundled server answers
//!
//! You should see the record as the server has it.

#[path = "common/duration.rs"]
mod duration;
#[path = "common/interrupt.rs"]
mod interrupt;
#[path = "common/messages.rs"]
mod messages;
#[path = "common/output.rs"]
mod output;

use clap::Parser;
use enjamb::pool::{Config, Key, Pool, Reuse};
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor, Target};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::time::Duration;

/// Ask a WHOIS server
#[derive(Parser)]
struct Args {
    /// What to ask for: a domain, an address, a handle
    #[arg(value_parser = query)]
    query: String,
    /// Whom to ask, as HOST[:PORT]; the port is 43 if none is given
    #[arg(long, value_name = "HOST", value_parser = server, required_unless_present = "fake")]
    server: Option<Target>,
    /// Ask a bundled server on this machine
    #[arg(long, conflicts_with = "server")]
    fake: bool,
    /// How long all of it may take
    #[arg(long, value_name = "D", default_value = "10s", value_parser = duration::at_least_ms(1), allow_hyphen_values = true)]
    timeout: Duration,
}

/// The port of WHOIS: RFC 3912, section 2.
const PORT: u16 = 43;

/// A record is a few kilobytes. A server that sends more than this does something else.
const LONGEST_ANSWER: usize = 1 << 20;

#[derive(Default)]
struct Answer {
    text: String,
    failed: Option<io::Error>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    messages::show_from("warn");
    interrupt::ends_the_program();
    let mut answer = Answer::default();
    if let Err(error) = ask(&args, &mut answer) {
        answer.failed = Some(error);
    }
    let printed = output::print(&answer.text);
    let status = match &answer.failed {
        None => ExitCode::SUCCESS,
        Some(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    };
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
    let question = latin1(&args.query).map(|query| [&query[..], b"\r\n"].concat());
    pool.acquire(&mut cx, &key, Whois { question: question.unwrap_or_default(), server: server.clone() });
    cx.after(args.timeout, move |cx| {
        let message =
            format!("{server} did not come to the end of its answer in time: try a longer --timeout");
        cx.state.failed.get_or_insert(io::Error::new(io::ErrorKind::TimedOut, message));
        cx.stop();
    });
    reactor.run(answer)
}

/// One question. The answer ends where the connection does.
struct Whois {
    question: Vec<u8>,
    server: Target,
}

impl Protocol<Answer> for Whois {
    fn opened(&mut self, conn: &mut Conn<'_, Answer>) -> io::Result<()> {
        conn.write(&self.question);
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
            let message = format!("{} closed without an answer: does it know such queries?", self.server);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        conn.release(Reuse::Reusable); // the key knows better
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Answer>, end: End) {
        cx.state.failed = end.result.err();
        cx.stop();
    }
}

/// The bundled server.
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

fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

fn query(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(['\r', '\n']) {
        return Err("expected one line, and not an empty one".to_string());
    }
    match latin1(text) {
        Some(_) => Ok(text.to_string()),
        None => {
            Err("has a character that ISO-8859-1 has not: write an international name in its xn-- form"
                .into())
        }
    }
}

fn server(text: &str) -> Result<Target, String> {
    let target = match text.parse::<IpAddr>() {
        Ok(ip) => Ok(Target::from((ip, PORT))),
        Err(_) if text.contains(':') => text.parse(),
        Err(_) => format!("{text}:{PORT}").parse(),
    };
    target.map_err(|error: io::Error| error.to_string())
}
