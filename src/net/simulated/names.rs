//! The names of a simulation: a table with addresses and look-up times.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::base::error;
use crate::net::resolver::Answer;
use crate::net::simulated::Simulation;

pub(crate) type Names = BTreeMap<String, Name>;

#[derive(Debug)]
pub(crate) struct Name {
    takes: Duration,
    addresses: Vec<IpAddr>,
}

impl Simulation {
    pub(crate) fn name(&self, name: &str, takes: Duration, addresses: Vec<IpAddr>) {
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
