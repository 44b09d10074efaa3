//! Fairness: budgets, the run queue, and more ready sources than one batch of events holds.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use super::readiness::{Seen, Taker};
use crate::common::pair::{arrived, pair};
use crate::common::until::until;
use enjamb::{Config, Conn, ConnId, Input, Protocol, Reactor};

#[test]
fn a_firehose_is_held_to_its_budget_each_turn_and_starves_neither_neighbours_nor_timers() {
    const BUFFER: usize = 1024;
    const BUDGET: usize = 4 * BUFFER;
    struct Hose;
    impl Protocol<Tally> for Hose {
        fn received(&mut self, conn: &mut Conn<'_, Tally>, input: &mut Input<'_>) -> io::Result<()> {
            conn.state().hosed += input.take_all().len();
            Ok(())
        }
    }
    struct Neighbour;
    impl Protocol<Tally> for Neighbour {
        fn received(&mut self, conn: &mut Conn<'_, Tally>, input: &mut Input<'_>) -> io::Result<()> {
            conn.state().echoed += input.len();
            conn.write(input.take_all());
            Ok(())
        }
    }
    #[derive(Default)]
    struct Tally {
        hosed: usize,
        echoed: usize,
        ticked: usize,
    }
    let config = Config { read_buffer: BUFFER, read_budget: BUDGET, ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut tally = Tally::default();
    let ((hose, mut pump), (neighbour, mut visitor)) = (pair(), pair());
    let mut cx = reactor.cx(&mut tally);
    cx.adopt(hose, Hose).unwrap();
    cx.adopt(neighbour, Neighbour).unwrap();
    cx.every(Duration::from_millis(1), |cx| cx.state.ticked += 1);
    let (stop, full) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(2)));
    let pumping = std::thread::spawn({
        let (stop, full) = (Arc::clone(&stop), Arc::clone(&full));
        move || {
            pump.write_all(&[0; 16 * BUDGET]).unwrap(); // what the kernel holds without a reader
            full.wait();
            while !stop.load(Ordering::Relaxed) {
                pump.write_all(&[0; 64 * 1024]).unwrap();
            }
        }
    });
    full.wait();
    let visiting = std::thread::spawn(move || {
        for _ in 0..100 {
            let mut echo = [0];
            visitor.write_all(b"?").unwrap();
            visitor.read_exact(&mut echo).unwrap();
        }
    });
    let mut before = 0;
    until(&mut reactor, &mut tally, |cx| {
        let hosed = cx.state.hosed - std::mem::replace(&mut before, cx.state.hosed);
        assert!(hosed <= BUDGET, "{hosed} bytes in one turn");
        cx.state.echoed == 100 && cx.state.ticked >= 10 && cx.state.hosed > 16 * BUDGET
    });
    stop.store(true, Ordering::Relaxed);
    until(&mut reactor, &mut tally, |_| pumping.is_finished() && visiting.is_finished());
    pumping.join().unwrap();
    visiting.join().unwrap();
}

#[test]
fn who_used_up_a_budget_goes_to_the_back_of_the_queue() {
    /// Its number, and whom it resumes.
    struct Numbered(usize, Option<ConnId>);
    impl Protocol<Vec<usize>> for Numbered {
        fn received(&mut self, conn: &mut Conn<'_, Vec<usize>>, input: &mut Input<'_>) -> io::Result<()> {
            input.take_all();
            conn.state().push(self.0);
            if let Some(mut neighbour) = self.1.and_then(|id| conn.cx().conn(id)) {
                neighbour.resume();
            }
            Ok(())
        }
    }
    let config = Config { read_buffer: 10, read_budget: 10, ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut order = Vec::new();
    let with_bytes = |bytes| {
        let (near, mut far) = pair();
        far.write_all(&vec![0; bytes]).unwrap();
        arrived(&near, bytes);
        (near, far)
    };
    // The neighbour has something to read, and nobody to read it yet.
    let (neighbour, _far) = with_bytes(10);
    let neighbour = reactor.cx(&mut order).adopt(neighbour, Numbered(0, None)).unwrap().id();
    reactor.cx(&mut order).conn(neighbour).unwrap().pause();
    for _ in 0..10 {
        reactor.turn(&mut order, Some(Duration::ZERO)).unwrap();
    }
    // Three that have much more than their budget; the last of them makes the neighbour ready, when the two others
    // have used theirs up.
    let mut fars = Vec::new();
    for (i, resumes) in [(1, None), (2, None), (3, Some(neighbour))] {
        let (near, far) = with_bytes(100);
        reactor.cx(&mut order).adopt(near, Numbered(i, resumes)).unwrap();
        fars.push(far);
    }
    until(&mut reactor, &mut order, |cx| cx.state.len() == 31);
    assert_eq!(order[..4], [1, 2, 3, 0], "it comes before the second turn of the others");
    order.remove(3);
    for round in order.chunks_mut(3) {
        round.sort_unstable();
        assert_eq!(round, [1, 2, 3]);
    }
}

#[test]
fn more_ready_sources_than_events_hold_and_nothing_is_lost() {
    let mut reactor = Reactor::with_config(Config { events: 1, ..Config::default() }).unwrap();
    let mut seen = Seen::default();
    let mut fars = Vec::new();
    for i in 0..100 {
        let (near, mut far) = pair();
        let watching = near.try_clone().unwrap();
        reactor.cx(&mut seen).adopt(near, Taker).unwrap();
        far.write_all(&[i]).unwrap();
        arrived(&watching, 1);
        fars.push(far);
    }
    until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == 100);
    fars.iter_mut().enumerate().for_each(|(i, far)| far.write_all(&[100 + i as u8]).unwrap());
    drop(fars);
    until(&mut reactor, &mut seen, |cx| cx.state.count("closed") == 100);
    seen.bytes.sort_unstable();
    assert_eq!(seen.bytes, (0..200).collect::<Vec<u8>>());
}
