//! Logs in to a site with a form, looks at what is for members, and logs out.
//!
//! What it teaches: a session is more than connections: the form's hidden inputs go back as they came, the cookie of the
//! answer is kept and shown at the next page, and all of it goes over one socket. Whatever fails after the login, the
//! logout is not forgotten: a guard sends it.
//!
//!     cargo run --features http --example login
//!     cargo run --features http --example login -- --password wrong
//!     cargo run --features http --example login -- --must-say something-else
//!
//! You should see, from a bundled site on this machine,
//!
//!     the form has 2 hidden inputs: token, next
//!     logged in as ann, with 1 cookie
//!     welcome to the members' room
//!     logged out, with 0 cookies
//!     3 requests and a redirect over 1 socket

#[path = "common/interrupt.rs"]
mod interrupt;
#[path = "common/messages.rs"]
mod messages;
#[path = "common/output.rs"]
mod output;
#[path = "common/site.rs"]
mod site;

use clap::Parser;
use enjamb::http::{Config, Failure, Request, Response, Session};
use enjamb::{Cx, Reactor};
use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;

/// Log in to a bundled site, look at the members' page, and log out
#[derive(Parser)]
struct Args {
    /// Who logs in
    #[arg(long, default_value = site::MEMBER.0)]
    name: String,
    /// With which password
    #[arg(long, default_value = site::MEMBER.1)]
    password: String,
    /// What the members' page must say
    #[arg(long, value_name = "TEXT", default_value = "welcome")]
    must_say: String,
}

#[derive(Default)]
struct Visit {
    said: String,
    failed: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    messages::show_from("info");
    interrupt::ends_the_program();
    let mut visit = Visit::default();
    if let Err(error) = begin(args, &mut visit) {
        visit.failed = Some(error.to_string());
    }
    let printed = output::print(&visit.said);
    let status = match &visit.failed {
        None => ExitCode::SUCCESS,
        Some(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    };
    output::exit_status(printed, status)
}

/// The visit: what each page leads to.
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
            // Who has the cookie is logged in, whatever the members' page says.
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

/// Stands for being logged in: the only way to be rid of it is to log out.
#[must_use = "somebody is logged in: leave"]
struct Guard {
    session: Session<Visit>,
    logout: String,
}

impl Guard {
    /// Logs out however the visit went, and keeps what it has come to.
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

/// The answer, if it is one that leads on.
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
    cx.state.failed.get_or_insert(error); // the first is the cause
    cx.stop();
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

/// Names and values. This reads the bundled site's form; for any page's, take a parser of HTML.
fn hidden_inputs(page: &str) -> Vec<(String, String)> {
    let attribute = |tag: &str, name: &str| {
        let (_, behind) = tag.split_once(&format!("{name}=\""))?;
        Some(behind.split_once('"')?.0.replace("&amp;", "&"))
    };
    let tags = page.split('<').filter_map(|tag| tag.split_once('>')).map(|(tag, _)| tag);
    let hidden = tags.filter(|tag| tag.starts_with("input") && tag.contains("type=\"hidden\""));
    hidden.filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?))).collect()
}
