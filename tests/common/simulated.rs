//! A client and a server on a simulated network.

use std::net::SocketAddr;

use crate::common::machine::{Machine, Seen};
use enjamb::sim::Sim;
use enjamb::{Config, Reactor};

pub fn server() -> SocketAddr {
    ([10, 0, 0, 1], 80).into()
}

/// Runs a client and what a server makes for it to their end.
pub fn run_pair(sim: &Sim, client: Machine, accepted: Machine) -> Seen {
    let (mut reactor, mut seen) = pair(sim, Config::default(), client, accepted);
    reactor.run(&mut seen).unwrap();
    seen
}

/// The same, not run yet.
pub fn pair(sim: &Sim, config: Config, client: Machine, accepted: Machine) -> (Reactor<Seen>, Seen) {
    let mut reactor = sim.reactor_with(config).unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let mut accepted = Some(accepted);
    cx.listen(server(), move |_, _| accepted.take().unwrap_or_default()).unwrap();
    cx.connect(server(), client);
    (reactor, seen)
}

/// Says this, and then that it has said all.
pub fn says(bytes: Vec<u8>) -> Machine {
    Machine {
        opened: Box::new(move |conn| {
            conn.write(&bytes);
            conn.finish();
            Ok(())
        }),
        ..Machine::default()
    }
}

/// Notes how many bytes come at a time, and the end.
pub fn listens() -> Machine {
    Machine {
        received: Box::new(|conn, input| {
            let bytes = input.take_all();
            conn.state().notes.push(bytes.len().to_string());
            conn.state().bytes.extend(bytes);
            Ok(())
        }),
        ended: Box::new(|conn, _| {
            conn.state().notes.push("end".into());
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    }
}
