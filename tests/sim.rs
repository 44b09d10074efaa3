//! The simulation: that it behaves as the kernel does, and what it finds.

mod common;

#[cfg(feature = "sim")]
mod sim {
    mod differential;
    #[cfg(target_os = "linux")]
    mod differential_network;
    mod network;
    mod random;
    mod replay;
    mod solo;
}
