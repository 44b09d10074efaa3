//! Pools put through random operations: the decisions beside a naive model, and whole pools with I/O.

mod chaos;
mod model;
mod operations;
