//! The simulated kernel: sockets, a network between them, names, and the clock.
//!
//! `sim` is its public interface. Without the feature `sim`, `absent` takes its place.

pub(crate) mod address;
#[cfg(all(test, target_os = "linux"))]
mod beside;
mod calls;
mod event;
mod link;
mod names;
mod network;
mod pipe;
mod random;
mod readiness;
mod record;
mod socket;
mod wire;

use std::cell::{RefCell, RefMut};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::Token;

use crate::base::clock::Time;
use crate::base::readiness::Readiness;
use crate::base::slots::WAKER;

pub use link::{Link, Polling};
use names::Names;
pub(crate) use network::{LAST, Network, SocketId};
pub(crate) use random::Random;
pub(crate) use socket::SimSocket;

/// A simulated kernel. Clones refer to the same one.
#[derive(Clone)]
pub(crate) struct Simulation {
    network: Rc<RefCell<Network>>,
    names: Rc<RefCell<Names>>,
    /// A closure was posted.
    woken: Arc<AtomicBool>,
}

impl Simulation {
    pub(crate) fn new(seed: u64) -> Self {
        Simulation {
            network: Rc::new(RefCell::new(Network::new(seed))),
            names: Rc::default(),
            woken: Arc::default(),
        }
    }

    pub(crate) fn network(&self) -> RefMut<'_, Network> {
        self.network.borrow_mut()
    }

    pub(crate) fn connect(&self, addr: SocketAddr) -> io::Result<SimSocket> {
        let id = self.network().connect(addr)?;
        Ok(self.socket(id))
    }

    pub(crate) fn listen(&self, addr: SocketAddr, backlog: u32) -> io::Result<SimSocket> {
        let id = self.network().listen(addr, backlog)?;
        Ok(self.socket(id))
    }

    /// The socket with this id, which is closed when what this returns is dropped.
    pub(crate) fn socket(&self, id: SocketId) -> SimSocket {
        SimSocket::new(&self.network, id)
    }

    pub(crate) fn seed(&self) -> u64 {
        self.network.borrow().seed
    }

    pub(crate) fn woken(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.woken)
    }

    pub(crate) fn clock(&self) -> Time {
        Rc::clone(&self.network.borrow().clock)
    }

    /// Lets time pass, and performs the events in it.
    pub(crate) fn take_time(&self, time: Duration) {
        let mut network = self.network();
        let now = network.now.saturating_add(time);
        network.set_time(now);
        network.happen();
    }

    pub(crate) fn wait(
        &self,
        batch: &mut Vec<(Token, Readiness)>,
        most: usize,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        batch.clear();
        let posted = self.woken.swap(false, Ordering::AcqRel);
        let timeout = if posted { Some(Duration::ZERO) } else { timeout };
        let goes_on = self.network().wait(timeout, most, batch)?;
        if posted {
            batch.push((WAKER, Readiness::NONE));
        }
        if goes_on { Ok(()) } else { Err(io::ErrorKind::Deadlock.into()) }
    }
}

/// The environment variable that selects one seed.
pub(crate) const SEED: &str = "ENJAMB_SEED";

/// The number of events that a failing run prints.
const SHOWN: usize = 40;

/// Prints the last events if a test fails while the simulation exists.
impl Drop for Network {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, count, last) = (self.seed, self.record.count(), self.record.last(SHOWN));
            let again = if self.checked { format!("; {SEED}={seed} runs it again") } else { String::new() };
            eprintln!(
                "the simulation with seed {seed} failed after {count} events{again}. The last of them:\n{last}"
            );
        }
    }
}
