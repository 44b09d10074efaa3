//! The simulation: it behaves as the kernel does, it repeats itself, and random programs run in it.
//!
//! | file | what it tests |
//! |---|---|
//! | `network.rs` | links: segments, latency, buffers, refusals, resets |
//! | `faults.rs` | partitions, peers that hang, hosts that crash |
//! | `kernel.rs` | backlogs, resets and ports, as a kernel has them |
//! | `differential.rs` | random dialogues, in the simulation and on loopback sockets |
//! | `differential_network.rs` | addresses, backlogs and resets, in the simulation and on loopback sockets |
//! | `replay.rs` | equal seeds give equal runs; a failing seed is printed |
//! | `solo.rs` | one machine without a reactor, and scripted peers |
//! | `random/` | random machines on a random network, and what must hold for every seed |

mod common;

#[cfg(feature = "sim")]
mod sim {
    mod differential;
    #[cfg(target_os = "linux")]
    mod differential_network;
    mod faults;
    mod kernel;
    mod network;
    mod random;
    mod replay;
    mod solo;
}
