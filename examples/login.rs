//! Logs in to a site with a form, reads the page for members, and logs out.
//!
//! What it teaches: a session has cookies, too. The program sends the hidden inputs of the form back. The session keeps
//! the cookie of the answer and sends it with each further request, all over one socket. After the login, a guard sends
//! the logout, also if a later step fails.
//!
//!     cargo run --features http --example login
//!     cargo run --features http --example login -- --password wrong
//!     cargo run --features http --example login -- --must-say something-else
//!
//! You should see, from a site in the program,
//!
//!     the form has 2 hidden inputs: token, next
//!     logged in as ann, with 1 cookie
//!     welcome to the members' room
//!     logged out, with 0 cookies
//!     3 requests and a redirect over 1 socket

mod common;

use clap::Parser;
use common::{messages, output, signals, site};
use enjamb::http::{Config, Failure, Request, Response, Session};
use enjamb::{Cx, Reactor};
use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;

#[derive(Default)]
struct Visit {
    said: String,
    failed: Option<String>,
}

/// The visit: a request, and the next one in its callback.
fn begin(args: Args, visit: &mut Visit) -> io::Result<()> {
    let mut reactor = Reactor::new()?;
    let mut cx = reactor.cx(visit);
    let site = cx.listen((Ipv4Addr::LOCALHOST, 0), |_, _| site::Site)?.local_addr()?;
    let session = Session::new(Config::default())?;
    let page = move |path: &str| format!("http://{site}{path}");
    let mine = session.clone();
    session.get(&mut cx, page("/login"), move |cx, form| {
        let form = match good(form) {
            Ok(form) => form,
            Err(error) => return fail(cx, error),
        };
        let mut inputs = hidden_inputs(&form.text());
        let names: Vec<&str> = inputs.iter().map(|(name, _)| name.as_str()).collect();
        cx.state.say(format!("the form has {} hidden inputs: {}", names.len(), names.join(", ")));
        inputs.push(("name".to_string(), args.name.clone()));
        inputs.push(("password".to_string(), args.password.clone()));
        let session = mine.clone();
        mine.send(cx, Request::post(page("/login")).form(inputs), move |cx, room| {
            let room = good(room).and_then(|room| validate(&room, &args.must_say));
            // With a cookie the login has succeeded, also if the members' page is not as expected.
            match room {
                Err(error) if session.with_cookies(|jar| jar.is_empty()) => fail(cx, error),
                room => {
                    cx.state.say(format!("logged in as {}, with {}", args.name, cookies(&session)));
                    let guard = Guard { session: session.clone(), logout: page("/logout") };
                    guard.leave(cx, room);
                }
            }
        });
    });
    reactor.run(visit)
}

fn validate(room: &Response, must_say: &str) -> Result<String, String> {
    let text = room.text();
    if text.contains(must_say) {
        Ok(text.trim_end().to_string())
    } else {
        Err(format!("{} does not say {must_say:?}", room.url))
    }
}

/// Exists while the program is logged in. `leave` consumes it and logs out.
#[must_use = "a login needs a logout: call `leave`"]
struct Guard {
    session: Session<Visit>,
    logout: String,
}

impl Guard {
    /// Logs out, after a success and after a failure, and keeps the result.
    fn leave(self, cx: &mut Cx<'_, Visit>, went: Result<String, String>) {
        match went {
            Ok(text) => cx.state.say(text),
            Err(error) => cx.state.failed = Some(error),
        }
        let Guard { session, logout } = self;
        session.clone().post(cx, logout, "", move |cx, goodbye| {
            if let Err(error) = good(goodbye) {
                return fail(cx, error);
            }
            cx.state.say(format!("logged out, with {}", cookies(&session)));
            let opened = session.pool().snapshot().stats.opened;
            cx.state.say(format!("3 requests and a redirect over {opened} socket"));
            cx.stop();
        });
    }
}

/// The answer, if its status is a success.
fn good(result: Result<Response, Failure>) -> Result<Response, String> {
    match result {
        Ok(response) if response.is_success() => Ok(response),
        Ok(response) => {
            Err(format!("{} says {}: {}", response.url, response.status, response.text().trim_end()))
        }
        Err(failure) => Err(failure.to_string()),
    }
}

/// Ends the visit.
fn fail(cx: &mut Cx<'_, Visit>, error: String) {
    cx.state.failed.get_or_insert(error); // the first error is the cause
    cx.stop();
}

fn main() -> ExitCode {
    let args = Args::parse();
    messages::show_from("info");
    signals::exit_at_ctrl_c();
    let mut visit = Visit::default();
    if let Err(error) = begin(args, &mut visit) {
        visit.failed = Some(error.to_string());
    }
    let printed = output::print(&visit.said);
    let status = messages::show_failure(visit.failed.map_or(Ok(ExitCode::SUCCESS), Err));
    output::exit_status(printed, status)
}

/// Log in to a site in this program, read the page for members, and log out
#[derive(Parser)]
struct Args {
    /// The name for the login
    #[arg(long, default_value = site::MEMBER.0)]
    name: String,
    /// The password for the login
    #[arg(long, default_value = site::MEMBER.1)]
    password: String,
    /// Text that the members' page must contain
    #[arg(long, value_name = "TEXT", default_value = "welcome")]
    must_say: String,
}

impl Visit {
    fn say(&mut self, line: String) {
        self.said.push_str(&line);
        self.said.push('\n');
    }
}

fn cookies(session: &Session<Visit>) -> String {
    match session.with_cookies(|jar| jar.len()) {
        1 => "1 cookie".to_string(),
        n => format!("{n} cookies"),
    }
}

/// Names and values of hidden inputs. It reads the form of this program's site; other pages need a parser for HTML.
fn hidden_inputs(page: &str) -> Vec<(String, String)> {
    let attribute = |tag: &str, name: &str| {
        let (_, behind) = tag.split_once(&format!("{name}=\""))?;
        Some(behind.split_once('"')?.0.replace("&amp;", "&"))
    };
    let tags = page.split('<').filter_map(|tag| tag.split_once('>')).map(|(tag, _)| tag);
    let hidden = tags.filter(|tag| tag.starts_with("input") && tag.contains("type=\"hidden\""));
    hidden.filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?))).collect()
}
