//! Slow poetry, read in five ways, side by side: what an event loop is for, in one picture.
//!
//! What it teaches: a program that waits for one server at a time is slow (`blocking`), or it is only as quick as it
//! looks (`connect-first` lets the kernel collect what it does not read). `threads`, `select` and the `reactor` hear
//! all the servers at once. With a few poems they tie; with thousands they do not.
//!
//!     cargo run --release --example compare
//!     cargo run --release --example compare -- --quick --only blocking,reactor
//!     cargo run --release --example compare -- --poems 5000 --lines 20 --delay 50ms --only threads,reactor
//!
//! There is nothing to start before: it serves its own poems. You should see five blocks on one time axis, a row for
//! each poem, each byte where it was read: a staircase of 12 s for `blocking`, two late lumps for `connect-first`,
//! and 4 s with all the poems in parallel for the others. Then a table, and what to make of it. The exit status is 0
//! if every poem arrived byte for byte.

// With its path it is the root of the modules beside it.
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
