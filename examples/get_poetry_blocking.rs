//! The blocking poetry client: one server after another.
//!
//! What it teaches: a blocking client is the simplest and the slowest. While it waits for one server, it does not read
//! from the others. So its time is the sum of the times of all poems.
//!
//!     cargo run --example slow_poetry                                  (in another terminal)
//!     cargo run --example get_poetry_blocking 10000 10001 10002
//!
//! You should see `Task 1: got 4 bytes of poetry from 127.0.0.1:10000` four times, the same for tasks 2 and 3, the
//! three poems, and `Got 3 poems in 12.0…s`.

mod common;

use clap::Parser;
use common::report::Outcome;
use common::{report, values};
use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;

fn get_poems(servers: &[SocketAddr]) -> io::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for (task, &server) in servers.iter().enumerate() {
        let outcome = get_poem(task, server);
        report::finished(task, server, &outcome);
        outcomes.push(outcome);
    }
    Ok(outcomes)
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

fn main() -> ExitCode {
    let args = Args::parse();
    report::run(|| get_poems(&args.servers))
}

/// Get poems from one server after another
#[derive(Parser)]
struct Args {
    /// The servers, as [HOST:]PORT
    #[arg(value_name = "ADDR", required = true, value_parser = values::remote_address)]
    servers: Vec<SocketAddr>,
}
