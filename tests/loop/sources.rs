//! Sources for the tests of the loop, and a thread to run it in.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;

use crate::common::machine::{Machine, Seen};
use crate::common::pair::sized_pair;
use crate::common::places::ANY_PORT;
use crate::common::times::HANGS;
use enjamb::mio;
use enjamb::{Cx, Readiness, Step, Watch};

/// Runs the loop in a thread, so that a test of whether `run` returns fails instead of hanging.
pub fn run_elsewhere<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(what()));
    result.recv_timeout(HANGS).expect("it returns, and does not panic")
}

pub fn listen(
    cx: &mut Cx<'_, Seen>,
    accepted: impl FnMut(&mut Cx<'_, Seen>) -> Machine + 'static,
) -> SocketAddr {
    let mut accepted = accepted;
    let mut listener = cx.listen(ANY_PORT, move |cx, _| accepted(cx)).expect("a free port");
    listener.local_addr().expect("an address")
}

/// A watched source that does what it is told when it is called.
pub struct Watcher(pub Box<Ready>);
pub type Ready = dyn FnMut(&mut Cx<'_, Seen>) -> io::Result<Step>;

impl<E> Watch<E, Seen> for Watcher {
    fn ready(&mut self, cx: &mut Cx<'_, Seen>, _: &mut E, _: Readiness) -> io::Result<Step> {
        (self.0)(cx)
    }
}

pub fn udp() -> mio::net::UdpSocket {
    mio::net::UdpSocket::bind(ANY_PORT.into()).expect("a free port")
}

pub fn adopted(cx: &mut Cx<'_, Seen>, machine: Machine) -> Option<TcpStream> {
    let (ours, mut theirs) = sized_pair(None);
    cx.adopt(ours, machine).expect("adopting");
    theirs.write_all(b"x").expect("there is room");
    theirs.shutdown(Shutdown::Write).expect("it can be shut down");
    Some(theirs)
}
