//! What several examples need and none of them teaches.
#![allow(dead_code, reason = "each example uses only a part of this")]

pub mod line_queue; // lines for an output whose reader may be slow
pub mod messages; // the log, on standard error
pub mod output; // results, on standard output
pub mod poem; // the poems, and sending them slowly
pub mod report; // what every poetry client does and says around its loop
pub mod server; // listening that fails, and an orderly shutdown
pub mod signals; // Ctrl-C and SIGTERM
pub mod site; // a small web site for the HTTP examples
pub mod values; // addresses, durations, numbers and bytes as text
