//! The tutorial's server: a thread for each port, one client at a time.

use super::{Micros, Plan, announce, anywhere};
use crate::program::plan::micros;
use crate::program::recite::recite;
use crate::program::strategies::THREAD_STACK;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

pub fn serve(plan: &Plan) -> io::Result<Micros> {
    let worst = Arc::new(AtomicU64::new(0));
    let mut addresses = Vec::new();
    for poem in 0..plan.ports() {
        let listener = TcpListener::bind(anywhere())?;
        addresses.push(listener.local_addr()?);
        let recital =
            Recital { pieces: plan.poems.pieces(poem), delay: plan.delay, worst: Arc::clone(&worst) };
        thread::Builder::new().stack_size(THREAD_STACK).spawn(move || recital.give_to_all(&listener))?;
    }
    announce(&addresses)?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(worst.load(Relaxed))
}

struct Recital {
    pieces: Vec<Vec<u8>>,
    delay: Duration,
    worst: Arc<AtomicU64>,
}

impl Recital {
    fn give_to_all(&self, listener: &TcpListener) {
        for client in listener.incoming() {
            let given = client.and_then(|client| self.give(&client));
            // Whoever hangs up early has a client to explain it.
            if let Err(error) = given {
                log::debug!("a poem was not given: {error}");
            }
        }
    }

    fn give(&self, client: &TcpStream) -> io::Result<()> {
        let begun = Instant::now();
        let mut due = Duration::ZERO;
        let mut on_time = || {
            self.worst.fetch_max(micros(begun.elapsed().saturating_sub(due)), Relaxed);
            due += self.delay;
        };
        // Without nodelay a short piece may wait for the acknowledgement of the one before.
        client.set_nodelay(true)?;
        recite(client, &self.pieces, self.delay, |_| on_time())?;
        on_time();
        Ok(())
    }
}
