//! The example programs, run as a user runs them: what they print, and their exit status.
//!
//! | file | what it tests |
//! |---|---|
//! | `chat.rs` | chat |
//! | `clients.rs` | the four poetry clients |
//! | `compare.rs` | compare |
//! | `countdown.rs` | countdown |
//! | `echo.rs` | echo |
//! | `echo_streams.rs` | echo_server and echo_client |
//! | `embed.rs` | embed |
//! | `faults.rs` | the poetry clients with servers that fail |
//! | `http.rs` | fetch, fetch10 and login |
//! | `multicore.rs` | multicore |
//! | `outputs.rs` | outputs that are not read, are closed or full |
//! | `pool.rs` | pool_demo, pool_table and whois |
//! | `proxy.rs` | proxy |
//! | `simulated.rs` | simulated |
//! | `slow_poetry.rs` | slow_poetry |
//! | `talk.rs` | talk |
//! | `tls_echo.rs` | tls_echo |
//! | `udp_echo.rs` | udp_echo |
//! | `usage.rs` | help and wrong usage of all programs |
//! | `values.rs` | the parsers that the examples share |
//! | `worker.rs` | worker |
//! | `programs.rs` | helpers: examples as child processes |
//! | `servers.rs` | helpers: servers and peers for them |
//!
//! Ports are always 0 and are read from what a program prints. No test sleeps and hopes: it waits for a line, for a byte or
//! for the end, and fails after [`cli::programs::PATIENCE`].

mod common;
// What the examples share is tested here too.
#[cfg(unix)]
#[path = "../examples/common/mod.rs"]
mod examples;

#[cfg(unix)]
mod cli {
    mod chat;
    mod clients;
    mod compare;
    mod countdown;
    mod echo;
    mod echo_streams;
    mod embed;
    mod faults;
    #[cfg(all(feature = "http", feature = "tls"))]
    mod http;
    mod multicore;
    #[cfg(target_os = "linux")]
    mod outputs;
    mod pool;
    mod programs;
    mod proxy;
    mod servers;
    #[cfg(feature = "sim")]
    mod simulated;
    mod slow_poetry;
    mod talk;
    #[cfg(feature = "tls")]
    mod tls_echo;
    mod udp_echo;
    mod usage;
    mod values;
    mod worker;
}
