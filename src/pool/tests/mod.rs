//! Random operations on pools: the decisions against a simple model, and whole pools with I/O.

mod chaos;
mod model;
mod operations;
