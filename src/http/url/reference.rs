//! References: resolution against a base URL (RFC 3986 section 5), and escaping of illegal characters in a server's
//! reference.

use crate::http::error::UrlError;
use crate::http::url::Url;
use crate::http::url::parse::{is_escape, is_pchar};

impl Url {
    /// Resolves a reference against this URL (RFC 3986 section 5.2): `../style.css`, `?page=2`, `//other/x`.
    ///
    /// ```
    /// # let url: enjamb::http::Url = "https://example.org/a/b?q#f".parse()?;
    /// assert_eq!(url.join("//other.example/x")?.to_string(), "https://other.example/x");
    /// assert_eq!(url.join("?page=2")?.to_string(), "https://example.org/a/b?page=2");
    /// # Ok::<(), enjamb::http::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The reference is malformed, or the result is not an http or https URL. The error contains the resolved text.
    pub fn join(&self, reference: &str) -> Result<Url, UrlError> {
        if has_scheme(reference) {
            return reference.parse();
        }
        let (before_fragment, fragment) = match reference.split_once('#') {
            Some((before, fragment)) => (before, format!("#{fragment}")),
            None => (reference, String::new()),
        };
        let (path, query) = match before_fragment.find('?') {
            Some(mark) => before_fragment.split_at(mark),
            None => (before_fragment, ""),
        };
        let base = self.text[..self.target].to_owned();
        let joined = if reference.starts_with("//") {
            return format!("{}:{reference}", self.scheme.as_str()).parse();
        } else if path.starts_with('/') {
            format!("{base}{path}{query}{fragment}")
        } else if !path.is_empty() {
            let folder = self.path().rfind('/').map_or("/", |slash| &self.path()[..=slash]);
            format!("{base}{folder}{path}{query}{fragment}")
        } else if !query.is_empty() {
            format!("{base}{}{query}{fragment}", self.path())
        } else {
            format!("{}{fragment}", self.text)
        };
        // The server is the same, so the credentials remain valid.
        joined.parse().map(|url: Url| Url { userinfo: self.userinfo.clone(), ..url })
    }
}

/// Whether a reference begins with a scheme. A scheme is a letter, then letters, digits and `+-.`, and ends at a colon.
fn has_scheme(reference: &str) -> bool {
    reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

/// Percent-encodes the characters that a URL may not contain: blanks, brackets in a query, non-ASCII letters, and a `%`
/// that begins no escape. Servers send such references. The authority stays as it is, since a changed name could be
/// that of another server.
pub(in crate::http) fn escape_illegal(reference: &str) -> String {
    let bytes = reference.as_bytes();
    let path = path_start(reference);
    let mut escaped = String::with_capacity(bytes.len());
    escaped.push_str(&reference[..path]);
    let mut in_fragment = false;
    for (at, &byte) in bytes.iter().enumerate().skip(path) {
        let legal = match byte {
            b'%' => is_escape(&bytes[at..]),
            b'#' => !std::mem::replace(&mut in_fragment, true),
            b'/' | b'?' => true,
            _ => is_pchar(byte),
        };
        if legal {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// The offset of a reference's path: the end of its authority, if it has one (RFC 3986 section 3.2).
fn path_start(reference: &str) -> usize {
    let behind_scheme = match reference.split_once(':') {
        Some((_, behind)) if has_scheme(reference) => behind,
        _ => reference,
    };
    let Some(authority) = behind_scheme.strip_prefix("//") else { return 0 };
    let start = reference.len() - authority.len();
    authority.find(['/', '?', '#']).map_or(reference.len(), |length| start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 3986 section 5.4, for http.
    #[test]
    fn references_are_resolved_as_rfc_3986_has_it() {
        let base: Url = "http://a/b/c/d;p?q".parse().unwrap();
        for (reference, resolved) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q#s"),
            ("g#s", "http://a/b/c/g#s"),
            ("g?y#s", "http://a/b/c/g?y#s"),
            (";x", "http://a/b/c/;x"),
            ("g;x", "http://a/b/c/g;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            (".g", "http://a/b/c/.g"),
            ("g..", "http://a/b/c/g.."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("g#s/./x", "http://a/b/c/g#s/./x"),
            ("g#s/../x", "http://a/b/c/g#s/../x"),
            ("https://g/x", "https://g/x"),
        ] {
            assert_eq!(base.join(reference).unwrap().to_string(), resolved, "{reference:?}");
        }
        // Section 5.4.2: the strict reading.
        assert!(base.join("http:g").is_err());
        assert!(base.join("mailto:a@b").is_err());
    }

    #[test]
    fn what_servers_write_is_escaped() {
        for (reference, escaped) in [
            ("/a b?x[]=\u{e9}|y", "/a%20b?x%5B%5D=%C3%A9%7Cy"),
            ("http://[::1]:80/[x]", "http://[::1]:80/%5Bx%5D"),
            ("/100%&%41#a#b", "/100%25&%41#a%23b"),
            ("\\evil", "%5Cevil"),
            ("//h\\x/\\", "//h\\x/%5C"),
            ("x//[a]", "x//%5Ba%5D"),
        ] {
            assert_eq!(escape_illegal(reference), escaped);
        }
    }
}
