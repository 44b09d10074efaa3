//! HTTP messages: requests and responses, the end of a body, and the reuse of a connection.

pub(in crate::http) mod basic;
pub(in crate::http) mod form;
pub(in crate::http) mod framing;
pub(in crate::http) mod head;
pub(in crate::http) mod headers;
pub(in crate::http) mod method;
pub(in crate::http) mod parser;
pub(in crate::http) mod redirect;
pub(in crate::http) mod request;
pub(in crate::http) mod response;
pub(in crate::http) mod reuse;
