//! The decisions of a pool, without I/O.
//!
//! `entry` has the data, `table` the operations on it, `turns` the order of the hosts, `due` the time limits, and
//! `invariants` the checks. `list` is the linked list behind every queue. `stats` counts.

pub(super) mod due;
pub(super) mod entry;
pub(super) mod invariants;
pub(super) mod list;
pub(super) mod stats;
pub(super) mod table;
pub(super) mod turns;
