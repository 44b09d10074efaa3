//! Names in a simulation: a table of them, and how long looking one up takes.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::error;
use crate::resolve::Answer;
use crate::sim::Sim;

pub(crate) type Names = BTreeMap<String, Name>;

#[derive(Debug)]
pub(crate) struct Name {
    takes: Duration,
    addresses: Vec<IpAddr>,
}

impl Sim {
    /// Gives a name its addresses, in the order in which they are preferred, and looking it up `takes` that long. Without
    /// addresses it cannot be found; one that was never given, at once. Names are looked up here and nowhere else, whatever
    /// [`Reactor::set_resolver`](crate::Reactor::set_resolver) says.
    pub fn name<A: Into<IpAddr>>(&self, name: &str, takes: Duration, addresses: impl IntoIterator<Item = A>) {
        let addresses = addresses.into_iter().map(A::into).collect();
        self.names.borrow_mut().insert(name.to_string(), Name { takes, addresses });
    }

    pub(crate) fn look_up(&self, name: &str, port: u16) -> (Duration, Answer) {
        match self.names.borrow().get(name) {
            Some(Name { takes, addresses }) => {
                (*takes, Ok(addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect()))
            }
            None => {
                let unknown = "the simulation has no such name: give it one with Sim::name";
                (Duration::ZERO, Err(error::new(io::ErrorKind::NotFound, unknown)))
            }
        }
    }
}
