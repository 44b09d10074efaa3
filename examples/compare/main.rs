//! Slow poetry, read in five ways, side by side: what an event loop is for, in one picture.
//!
//! What it teaches: a program that waits for one server at a time is slow (`blocking`). If it connects to all servers
//! first, it ends early, but it reads late: the kernel keeps what it does not read yet (`connect-first`). `threads`,
//! `select` and the `reactor` read from all servers at once. With a few poems they tie; with thousands they do not.
//!
//!     cargo run --release --example compare
//!     cargo run --release --example compare -- --quick --only blocking,reactor
//!     cargo run --release --example compare -- --poems 5000 --lines 20 --delay 50ms --only threads,reactor
//!
//! It serves its own poems, so there is nothing to start before. You should see five blocks on one time axis, with a row
//! for each poem and each byte where it was read: a staircase of 12 s for `blocking`, two late lumps for
//! `connect-first`, and 4 s with all poems in parallel for the others. Then follow a table and what it shows. The exit
//! status is 0 if every poem arrived byte for byte.

// With this path, the modules of `program` are the files beside it, without a folder `program/`.
#[cfg(unix)]
#[path = "program.rs"]
mod program;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    program::main()
}

#[cfg(not(unix))]
fn main() -> std::process::ExitCode {
    eprintln!("compare measures its child processes as only Unix can: try slow_poetry and get_poetry here");
    std::process::ExitCode::FAILURE
}
