//! Faults on the path to a server, and between the kernel and the loop.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::net::simulated::random::Random;

/// The path to a server and back: its delays, limits and faults. Each field stands for a property of real networks and
/// kernels. Probabilities go from 0 (never, the default) to 1.
///
/// ```
/// use enjamb::sim::{Link, Sim};
///
/// let sim = Sim::new(1);
/// sim.links(Link { segment: 1..=1, ..Link::default() }); // every byte comes alone
/// ```
#[derive(Debug, Clone)]
pub struct Link {
    /// The time that a segment travels one way. Each segment draws its own time, but none overtakes another. Default
    /// 100 µs.
    pub latency: RangeInclusive<Duration>,
    /// The time that a segment occupies the line. The segments behind it arrive that much later, and so separately. A
    /// reset drops the segments that still wait at the sender. Default 10 µs, a full frame at about 1 Gbit/s.
    pub spacing: Duration,
    /// The sizes of the segments into which a write is split, as by a path's MTU or by several small sends. Default
    /// 1,460 bytes, the payload of an Ethernet frame.
    pub segment: RangeInclusive<usize>,
    /// Segments that arrive within this time are delivered together, as by interrupt moderation and generic receive
    /// offload. Default zero: each is delivered on its own.
    pub coalesce: Duration,
    /// The maximum number of bytes from one side that the other has not read, in flight or received: SO_SNDBUF and
    /// SO_RCVBUF together, at least 1. Default 256 KiB.
    pub buffer: usize,
    /// A write accepts fewer bytes than there is room for, as under memory pressure. The rest has to wait for an event.
    pub partial_write: f64,
    /// A connect is refused although a listener exists: a reset answers the SYN.
    pub refused: f64,
    /// A connect is never answered, as with a firewall that drops packets. After 127 s the kernel gives up: tcp(7),
    /// `tcp_syn_retries`.
    pub silent: f64,
    /// A connect fails within the call: no route, or no free port.
    pub unreachable: f64,
    /// A connection is aborted while it waits to be accepted: ECONNABORTED, accept(2).
    pub aborted: f64,
    /// After this many bytes in both directions together, the connection is reset, for example by a middlebox.
    pub reset_after: Option<RangeInclusive<u64>>,
    /// After this many bytes in both directions together, nothing arrives any more, without notice: a cut cable, a peer
    /// without power. The connection is half-open (RFC 9293, section 3.5.1). A side that sends gets an error after a
    /// quarter of an hour ([`TimedOut`](std::io::ErrorKind::TimedOut): tcp(7), `tcp_retries2`). A side that only waits
    /// never gets one.
    pub stall_after: Option<RangeInclusive<u64>>,
    /// Each side reads this many bytes and then stops, without notice, like an application that hangs. It does not read
    /// the end of the stream either. Its kernel fills the receive buffer, then keeps the window closed (RFC 9293,
    /// section 3.8.6.1). The sender never gets an error: only a deadline helps.
    pub stops_reading_after: Option<RangeInclusive<u64>>,
    /// The FIN travels with the last bytes, if they are still in flight. Both are then reported in the same event.
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
    /// A bad link that loses nothing: slow or fast, splitting and joining segments, with a small buffer.
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

/// The kernel's way to report readiness. Probabilities, as in [`Link`].
#[derive(Debug, Clone, Default)]
pub struct Polling {
    /// A wait reports a source that is not ready.
    pub spurious: f64,
    /// Readable and writable are reported in two events, as by kqueue, instead of one, as by epoll.
    pub split: f64,
    /// Sources are reported in random order, instead of the order in which they became ready.
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
