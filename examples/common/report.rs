//! What every poetry client says: the same lines whatever its loop, so that the programs differ only in the loop.

#[path = "output.rs"]
mod output;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// What became of one server's poem: its bytes, or why there is none.
pub type Outcome = io::Result<Vec<u8>>;

/// Tasks are the servers in the order they were given, counted from 1 for the reader and from 0 in the code.
pub fn got(task: usize, bytes: usize, server: SocketAddr) {
    log::info!("Task {}: got {bytes} bytes of poetry from {server}", task + 1);
}

pub fn finished(task: usize, server: SocketAddr, outcome: &Outcome) {
    match outcome {
        Ok(_) => log::info!("Task {} finished", task + 1),
        Err(error) => log::error!("Task {} failed: {}", task + 1, explain(server, error)),
    }
}

/// Prints the poems that came in full, then how many those are. Decodes them only here: UTF-8 may be cut anywhere on
/// its way, so that the pieces need not be text, but the whole is.
pub fn summary(outcomes: Vec<Outcome>, elapsed: Duration) -> ExitCode {
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
        log::warn!("A poem is not UTF-8: what could not be decoded is shown as \u{fffd}");
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
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            format!(
                "connection reset by {server}: the server broke off or was stopped; see what it says, then try again"
            )
        }
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
            format!("{server} cannot be reached ({error}): check the address")
        }
        // The reactor's own errors say to whom it happened.
        _ if error.to_string().contains(&server.to_string()) => error.to_string(),
        _ => format!("{server}: {error}"),
    }
}
