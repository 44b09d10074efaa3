//! What can go wrong on the way to a server, and between the kernel and the loop.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::net::simulated::random::Random;

/// The way to a server and back: how slow, how small and how unreliable it is. Each field is a fault that real
/// networks and kernels have; probabilities go from 0 (never, the default) to 1.
///
/// ```
/// use enjamb::sim::{Link, Sim};
///
/// let sim = Sim::new(1);
/// sim.links(Link { segment: 1..=1, ..Link::default() }); // every byte comes alone
/// ```
#[derive(Debug, Clone)]
pub struct Link {
    /// How long a segment is under way, one way; each draws its own, but none overtakes another. Default 100 µs.
    pub latency: RangeInclusive<Duration>,
    /// How long a segment keeps the line busy: those behind it come so much later, and therefore alone. A reset drops
    /// what still waits for the line at its sender. Default 10 µs, a full frame at about 1 Gbit/s.
    pub spacing: Duration,
    /// Into how many bytes each write is cut: segments that a path's MTU, or a sender in a hurry, makes. Default 1,460
    /// bytes, the payload of an Ethernet frame.
    pub segment: RangeInclusive<usize>,
    /// What arrives within this time is delivered together, as by interrupt moderation and generic receive offload.
    /// Default zero: each as it comes.
    pub coalesce: Duration,
    /// Bytes one side may have on the way to the other, sent or received but not read: SO_SNDBUF and SO_RCVBUF, at
    /// least 1. Default 256 KiB.
    pub buffer: usize,
    /// A write takes less than there is room for, as under memory pressure; the rest has to wait for an event.
    pub partial_write: f64,
    /// A connect is refused although somebody listens: a SYN answered by a reset.
    pub refused: f64,
    /// A connect is never answered: a firewall that drops. After 127 s the kernel gives up: tcp(7),
    /// `tcp_syn_retries`.
    pub silent: f64,
    /// A connect fails within the call: no route, no port left.
    pub unreachable: f64,
    /// A connection is given up while it waits to be accepted: ECONNABORTED, accept(2).
    pub aborted: f64,
    /// Behind this many bytes, both ways together, the connection is reset: a middlebox that cuts it, say.
    pub reset_after: Option<RangeInclusive<u64>>,
    /// Behind this many bytes, both ways together, nothing arrives any more, and nobody is told: a cable pulled out, a
    /// peer without power. The connection is half-open then (RFC 9293, section 3.5.1). Who sends is told after a
    /// quarter of an hour ([`TimedOut`](std::io::ErrorKind::TimedOut): tcp(7), `tcp_retries2`), who only waits, never.
    pub stall_after: Option<RangeInclusive<u64>>,
    /// Each side reads so many bytes and then no more, nor the end behind them, without a word: an application that hangs.
    /// Its kernel goes on to take what fits into its buffer, and then keeps its window closed (RFC 9293, section
    /// 3.8.6.1). Who sends is never told: only a deadline helps.
    pub stops_reading_after: Option<RangeInclusive<u64>>,
    /// The FIN comes with the last bytes, if they are still under way, instead of after them: so it is told in the same
    /// event.
    pub fin_with_data: f64,
}

impl Default for Link {
    fn default() -> Self {
        let latency = Duration::from_micros(100);
        Link {
            latency: latency..=latency,
            spacing: Duration::from_micros(10),
            segment: 1460..=1460,
            coalesce: Duration::ZERO,
            buffer: 256 * 1024,
            partial_write: 0.0,
            refused: 0.0,
            silent: 0.0,
            unreachable: 0.0,
            aborted: 0.0,
            reset_after: None,
            stall_after: None,
            stops_reading_after: None,
            fin_with_data: 0.0,
        }
    }
}

impl Link {
    /// A bad link that loses nothing: slow or quick, cutting and joining, with little room.
    pub(crate) fn rough(random: &mut Random) -> Self {
        let micros = |n| Duration::from_micros(n);
        let fastest = random.within(0..=2_000);
        let smallest = random.within(1..=64) as usize;
        Link {
            latency: micros(fastest)..=micros(fastest + random.within(0..=50_000)),
            segment: smallest..=smallest + random.within(0..=2_000) as usize,
            coalesce: micros(random.within(0..=3) * random.within(0..=10_000)),
            buffer: 1 << random.within(4..=17),
            partial_write: random.within(0..=3) as f64 / 10.0,
            fin_with_data: random.within(0..=2) as f64 / 2.0,
            ..Link::default()
        }
    }

    /// A bad link that also loses connections.
    pub(crate) fn hostile(random: &mut Random) -> Self {
        let some = |random: &mut Random| random.within(0..=2) as f64 / 10.0;
        let bytes = |random: &mut Random| random.chance(0.3).then(|| 0..=random.within(0..=100_000));
        Link {
            refused: some(random),
            silent: some(random),
            unreachable: some(random),
            aborted: some(random),
            reset_after: bytes(random),
            stall_after: bytes(random),
            stops_reading_after: bytes(random),
            ..Link::rough(random)
        }
    }
}

/// How the kernel tells what is ready. Probabilities, as in [`Link`].
#[derive(Debug, Clone, Default)]
pub struct Polling {
    /// A wait reports a source that is not ready.
    pub spurious: f64,
    /// What can be read and what can be written is told in two events, as by kqueue, instead of in one, as by epoll.
    pub split: f64,
    /// The sources come in any order, instead of the one in which they became ready.
    pub shuffled: bool,
}

impl Polling {
    pub(crate) fn rough(random: &mut Random) -> Self {
        Polling {
            spurious: random.within(0..=3) as f64 / 10.0,
            split: random.within(0..=2) as f64 / 2.0,
            shuffled: random.chance(0.5),
        }
    }
}
