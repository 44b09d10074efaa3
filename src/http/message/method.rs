//! Request methods.

use std::fmt;
use std::str::FromStr;

use crate::http::Error;

/// A request method (RFC 9110 section 9; PATCH: RFC 5789).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// GET: fetch a resource.
    Get,
    /// HEAD: fetch the head of a response only.
    Head,
    /// POST: submit data.
    Post,
    /// PUT: create or replace a resource.
    Put,
    /// DELETE: remove a resource.
    Delete,
    /// PATCH: change a part of a resource.
    Patch,
    /// OPTIONS: query the supported methods and features.
    Options,
}

impl Method {
    /// The method as it is sent, in capitals. Methods are case-sensitive.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Patch => "PATCH",
            Method::Options => "OPTIONS",
        }
    }

    /// Whether repeating the request has the same effect as sending it once (RFC 9110 section 9.2.2).
    pub fn is_idempotent(self) -> bool {
        !matches!(self, Method::Post | Method::Patch)
    }

    /// Whether a request of this method usually has a body, so that an empty one needs a `Content-Length: 0` (RFC 9110
    /// section 8.6).
    pub(crate) fn expects_body(self) -> bool {
        matches!(self, Method::Post | Method::Put | Method::Patch)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Parses a method in capitals.
impl FromStr for Method {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        const ALL: [Method; 7] = [
            Method::Get,
            Method::Head,
            Method::Post,
            Method::Put,
            Method::Delete,
            Method::Patch,
            Method::Options,
        ];
        ALL.into_iter()
            .find(|method| method.as_str() == name)
            .ok_or(Error::Request("a method is one of GET, HEAD, POST, PUT, DELETE, PATCH and OPTIONS"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_found_by_its_name_in_capitals() {
        for name in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            assert_eq!(name.parse::<Method>().unwrap().to_string(), name);
        }
        for name in ["get", "CONNECT", "TRACE", "", "GET "] {
            assert!(name.parse::<Method>().is_err(), "{name:?}");
        }
    }
}
