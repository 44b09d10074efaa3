//! What a pool decides, without any I/O.
//!
//! `entry` says what there is, `table` what happens to it, `turns` which host is next, `due` what is too old, and
//! `invariants` what always holds. `list` keeps the order of all that is in line; `stats` counts.

pub(super) mod due;
pub(super) mod entry;
pub(super) mod invariants;
pub(super) mod list;
pub(super) mod stats;
pub(super) mod table;
pub(super) mod turns;
