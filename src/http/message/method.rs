//! Request methods.

use std::fmt;
use std::str::FromStr;

use crate::http::Error;

/// A request method (RFC 9110 section 9; PATCH: RFC 5789).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// Fetch.
    Get,
    /// Fetch the head only.
    Head,
    /// Hand in.
    Post,
    /// Put in this place.
    Put,
    /// Delete.
    Delete,
    /// Change a part.
    Patch,
    /// Ask what can be done.
    Options,
}

impl Method {
    /// As it is sent: method names have case.
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

    /// Whether doing it twice is the same as doing it once (RFC 9110 section 9.2.2).
    pub fn is_idempotent(self) -> bool {
        !matches!(self, Method::Post | Method::Patch)
    }

    /// Whether a server expects a body, so that its absence must be said (RFC 9110 section 8.6).
    pub(crate) fn expects_body(self) -> bool {
        matches!(self, Method::Post | Method::Put | Method::Patch)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// From its name, in capitals.
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
            .ok_or(Error::Request("the method is none of GET, HEAD, POST, PUT, DELETE, PATCH and OPTIONS"))
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
