//! Message bodies: chunked coding, compression, charsets, collecting and writing.

pub(in crate::http) mod charset;
pub(in crate::http) mod chunked;
pub(in crate::http) mod collect;
pub(in crate::http) mod content;
#[cfg(feature = "gzip")]
pub(in crate::http) mod gunzip;
pub(in crate::http) mod upload;
