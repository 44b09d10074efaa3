//! What every poetry client does and says around its loop. So the clients differ only in the loop.

use super::{messages, output, signals};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The result of one server: the bytes of its poem, or the error.
pub type Outcome = io::Result<Vec<u8>>;

/// A client: shows messages, gets a poem from each server, measures the time, and prints the poems.
pub fn run(get_poems: impl FnOnce() -> io::Result<Vec<Outcome>>) -> ExitCode {
    messages::show_from("info");
    signals::exit_at_ctrl_c();
    let start = Instant::now();
    match get_poems() {
        Ok(outcomes) => summary(outcomes, start.elapsed()),
        Err(error) => messages::show_failure(Err(format!("cannot wait for the servers: {error}"))),
    }
}

/// A task is the position of a server among the arguments. The code counts from 0, the messages from 1.
pub fn got(task: usize, bytes: usize, server: SocketAddr) {
    log::info!("Task {}: got {bytes} bytes of poetry from {server}", task + 1);
}

pub fn finished(task: usize, server: SocketAddr, outcome: &Outcome) {
    match outcome {
        Ok(_) => log::info!("Task {} finished", task + 1),
        Err(error) => log::error!("Task {} failed: {}", task + 1, explain(server, error)),
    }
}

/// Prints the complete poems, then their number. A read may cut a UTF-8 character, so only a complete poem is decoded.
fn summary(outcomes: Vec<Outcome>, elapsed: Duration) -> ExitCode {
    let asked = outcomes.len();
    let poems: Vec<Vec<u8>> = outcomes.into_iter().flatten().collect();
    let status = if poems.len() == asked { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let printed = poems.iter().try_for_each(|poem| output::print(&text(poem)));
    if printed.is_ok() {
        let of_asked = if poems.len() == asked { String::new() } else { format!(" of {asked}") };
        let noun = if asked == 1 { "poem" } else { "poems" };
        log::info!("Got {}{of_asked} {noun} in {:.3}s", poems.len(), elapsed.as_secs_f64());
    }
    output::exit_status(printed, status)
}

fn text(poem: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(poem).into_owned();
    if text.as_bytes() != poem {
        log::warn!("A poem is not UTF-8: \u{fffd} stands for the bytes that cannot be decoded");
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn explain(server: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => format!(
            "connection refused by {server}: is a server listening there? start one with `cargo run --example slow_poetry`"
        ),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => format!(
            "connection reset by {server}: the server failed or was stopped; read its messages, then try again"
        ),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
            format!("{server} cannot be reached ({error}): check the address")
        }
        // The reactor's own errors name the server already.
        _ if error.to_string().contains(&server.to_string()) => error.to_string(),
        _ => format!("{server}: {error}"),
    }
}
