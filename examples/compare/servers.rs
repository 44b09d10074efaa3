//! The process that serves the poems, slowly and by the clock: started for one run, so that its CPU time is not the
//! client's.

mod reactor;
mod threads;

use super::options::ServerKind;
use super::output;
use super::plan::Plan;
use super::timeline::Micros;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

/// Prints an address for each port and an empty line, serves until standard input ends, and prints how many
/// microseconds behind its schedule the worst piece or close was.
pub fn run(plan: &Plan) -> io::Result<()> {
    let late = match plan.server {
        ServerKind::Threads => threads::serve(plan)?,
        ServerKind::Reactor => reactor::serve(plan)?,
    };
    output::print(&format!("{late}\n"))
}

/// Any free port.
fn anywhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn announce(addresses: &[SocketAddr]) -> io::Result<()> {
    let lines: String = addresses.iter().map(|address| format!("{address}\n")).collect();
    output::print(&(lines + "\n"))
}
