//! The blocking poetry client: one server after another.
//!
//! What it teaches: the clearest program, and the slowest. While it waits for one server it cannot hear the others, so
//! it takes as long as all the poems together.
//!
//!     cargo run --example slow_poetry                                  (in another terminal)
//!     cargo run --example get_poetry_blocking 10000 10001 10002
//!
//! You should see `Task 1: got 4 bytes of poetry from 127.0.0.1:10000` four times, then the same for tasks 2 and 3,
//! the three poems, and `Got 3 poems in 12.0…s`.

#[path = "common/address.rs"]
mod address;
#[path = "common/interrupt.rs"]
mod interrupt;
#[path = "common/messages.rs"]
mod messages;
#[path = "common/report.rs"]
mod report;

use clap::Parser;
use report::Outcome;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Instant;

/// Get poems from one server after another
#[derive(Parser)]
struct Args {
    /// The servers, as [HOST:]PORT
    #[arg(value_name = "ADDR", required = true, value_parser = address::with_port(1..=65535))]
    servers: Vec<SocketAddr>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    messages::show_from("info");
    interrupt::ends_the_program();
    let start = Instant::now();
    let mut outcomes = Vec::new();
    for (task, &server) in args.servers.iter().enumerate() {
        let outcome = get_poem(task, server);
        report::finished(task, server, &outcome);
        outcomes.push(outcome);
    }
    report::summary(outcomes, start.elapsed())
}

fn get_poem(task: usize, server: SocketAddr) -> Outcome {
    let mut stream = TcpStream::connect(server)?;
    let mut poem = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(poem),
            Ok(n) => {
                report::got(task, n, server);
                poem.extend_from_slice(&buffer[..n]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
