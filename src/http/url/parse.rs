//! The parser for URLs (RFC 3986 section 3).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::http::error::UrlPart;
use crate::http::url::{Scheme, Url};

/// The part at fault, the byte offset, and the reason.
type Wrong = (UrlPart, usize, &'static str);

const ENCODE: &str = "this character must be written as % and two hexadecimal digits";
const ESCAPE: &str = "two hexadecimal digits must follow a %; for the sign itself, write %25";

pub(in crate::http) fn parse(text: &str) -> Result<Url, Wrong> {
    let scheme = scheme(text)?;
    let start = scheme.prefix_len();
    let rest = &text[start..];
    let authority_end = start + rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &text[start..authority_end];
    let (userinfo, host_start) = match authority.find('@') {
        Some(at) => {
            let userinfo = &authority[..at];
            check(UrlPart::Userinfo, start, userinfo, |byte| is_pchar(byte) && byte != b'@')?;
            (Some(userinfo.to_owned()), start + at + 1)
        }
        None => (None, start),
    };
    let (host, port) = host_and_port(&text[host_start..authority_end], host_start)?;
    let port = port.unwrap_or(scheme.default_port());

    let (before_fragment, fragment) = match text[authority_end..].split_once('#') {
        Some((before, fragment)) => (before, Some(fragment)),
        None => (&text[authority_end..], None),
    };
    let (path, query) = match before_fragment.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (before_fragment, None),
    };
    check(UrlPart::Path, authority_end, path, |byte| is_pchar(byte) || byte == b'/')?;
    let query_start = authority_end + path.len() + 1;
    let in_query = |byte| is_pchar(byte) || byte == b'/' || byte == b'?';
    check(UrlPart::Query, query_start, query.unwrap_or_default(), in_query)?;
    let fragment_start = authority_end + before_fragment.len() + 1;
    check(UrlPart::Fragment, fragment_start, fragment.unwrap_or_default(), in_query)?;

    let mut url = format!("{}://{host}", scheme.as_str());
    let host_end = url.len();
    if port != scheme.default_port() {
        url.push_str(&format!(":{port}"));
    }
    let target = url.len();
    url.push_str(&without_dots(if path.is_empty() { "/" } else { path }));
    if let Some(query) = query {
        url.push('?');
        url.push_str(query);
    }
    let fragment = fragment.map(str::to_owned);
    Ok(Url { text: url.into(), scheme, host_end, target, port, userinfo, fragment })
}

fn scheme(text: &str) -> Result<Scheme, Wrong> {
    let wrong = |why| (UrlPart::Scheme, 0, why);
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err(wrong("it is missing; a URL begins with http:// or https://"));
    };
    let found = match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
        _ if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
        _ => return Err(wrong("it is neither http nor https; a URL begins with http:// or https://")),
    };
    if !rest.starts_with("//") {
        return Err((UrlPart::Scheme, scheme.len() + 1, "two slashes must follow it"));
    }
    Ok(found)
}

/// Parses the host and the port. The host is normalised. `at` is the offset of `text` in the URL.
fn host_and_port(text: &str, at: usize) -> Result<(String, Option<u16>), Wrong> {
    let wrong = |at, why| Err((UrlPart::Host, at, why));
    if let Some(inside) = text.strip_prefix('[') {
        let Some((address, rest)) = inside.split_once(']') else {
            return wrong(at, "the bracket is not closed");
        };
        let Ok(address) = address.parse::<Ipv6Addr>() else {
            return wrong(at + 1, "brackets must enclose an IPv6 address without a zone");
        };
        let port_at = at + text.len() - rest.len();
        let port = match rest.strip_prefix(':') {
            Some(port) => self::port(port, port_at + 1)?,
            None if rest.is_empty() => None,
            None => return wrong(port_at, "only a colon and a port can follow the bracket"),
        };
        return Ok((format!("[{address}]"), port));
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    // Left to right, so that the error names the first wrong byte.
    let name = name(host, at)?;
    let port = port.map(|port| self::port(port, at + host.len() + 1)).transpose()?.flatten();
    Ok((name, port))
}

fn port(text: &str, at: usize) -> Result<Option<u16>, Wrong> {
    if text.is_empty() {
        return Ok(None); // RFC 3986 section 3.2.3 allows a colon without a port
    }
    if let Some(bad) = text.bytes().position(|byte| !byte.is_ascii_digit()) {
        return Err((UrlPart::Port, at + bad, "a port has digits only; write an IPv6 address in brackets"));
    }
    match text.parse() {
        Ok(port) if port > 0 => Ok(Some(port)),
        _ => Err((UrlPart::Port, at, "a port is from 1 to 65535")),
    }
}

/// Checks a name of letters, digits, hyphens and underscores between dots, or an IPv4 address. Returns it in lower
/// case.
fn name(text: &str, at: usize) -> Result<String, Wrong> {
    let wrong = |at, why| Err((UrlPart::Host, at, why));
    if text.is_empty() {
        return wrong(at, "it is missing; write an IPv6 address in brackets");
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if let Some(bad) = text.bytes().position(|byte| !allowed(byte)) {
        return wrong(
            at + bad,
            "a host has letters, digits, - . and _ only; write a name outside ASCII in its xn-- form",
        );
    }
    // The trailing dot of a fully qualified name does not start another label.
    let labels = text.strip_suffix('.').unwrap_or(text);
    // RFC 1035 section 2.3.4.
    if labels.len() > 253 {
        return wrong(at, "a name has at most 253 bytes");
    }
    let mut label_at = at;
    for label in labels.split('.') {
        if label.is_empty() || label.len() > 63 {
            return wrong(label_at, "a label between dots has 1 to 63 bytes");
        }
        label_at += label.len() + 1;
    }
    // Some resolvers read `127.1`, `0x7f.1` and `2130706433` as loopback, others as names. Only the dotted form is
    // accepted.
    let last = labels.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let hex = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let numeric = hex || last.bytes().all(|byte| byte.is_ascii_digit());
    if numeric && text.parse::<Ipv4Addr>().is_err() {
        return wrong(at, "an IPv4 address is four decimal numbers from 0 to 255");
    }
    Ok(text.to_ascii_lowercase())
}

/// Checks the characters and the percent-encoding of a part that begins at byte `start`.
fn check(part: UrlPart, start: usize, text: &str, allowed: impl Fn(u8) -> bool) -> Result<(), Wrong> {
    let bytes = text.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        if byte == b'%' {
            if !is_escape(&bytes[at..]) {
                return Err((part, start + at, ESCAPE));
            }
        } else if !allowed(byte) {
            return Err((part, start + at, ENCODE));
        }
    }
    Ok(())
}

pub(in crate::http) fn is_escape(bytes: &[u8]) -> bool {
    matches!(bytes, [b'%', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
}

/// Whether RFC 3986 section 3.3 allows this byte in a path segment. A percent-escape is checked elsewhere.
pub(in crate::http) fn is_pchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

/// Resolves `.` and `..` in a path that begins with a slash (RFC 3986 section 5.2.4).
fn without_dots(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = rest.next() {
        let last = rest.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            _ => {
                segments.push(segment);
                continue;
            }
        }
        if last {
            segments.push(""); // a path that ends in `.` or `..` names a folder
        }
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn wrong(text: &str, part: UrlPart, at: usize) {
        let error = text.parse::<Url>().expect_err(text);
        assert_eq!((error.part, error.at), (part, at), "{error}");
    }

    #[test]
    fn each_part_that_is_wrong_is_named_with_its_byte() {
        wrong("", UrlPart::Scheme, 0);
        wrong("example.org/x", UrlPart::Scheme, 0);
        wrong("ftp://h/", UrlPart::Scheme, 0);
        wrong(" http://h/", UrlPart::Scheme, 0);
        wrong("http:/h/", UrlPart::Scheme, 5);
        wrong("http://a b@h/", UrlPart::Userinfo, 8);
        wrong("http://a@b@h/", UrlPart::Host, 10);
        wrong("http://", UrlPart::Host, 7);
        wrong("http:///x", UrlPart::Host, 7);
        wrong("http://:80/", UrlPart::Host, 7);
        wrong("http://h\\x/", UrlPart::Host, 8);
        wrong("http://h h/", UrlPart::Host, 8);
        wrong("http://h\r\n/", UrlPart::Host, 8);
        wrong("http://m\u{fc}nchen.example/", UrlPart::Host, 8);
        wrong("http://h%41/", UrlPart::Host, 8);
        wrong("http://a..b/", UrlPart::Host, 9);
        wrong("http://[::1/", UrlPart::Host, 7);
        wrong("http://[::g]/", UrlPart::Host, 8);
        wrong("http://[fe80::1%25eth0]/", UrlPart::Host, 8);
        wrong("http://[::1]x/", UrlPart::Host, 12);
        wrong("http://::1/", UrlPart::Host, 7);
        wrong("http://h:8o/", UrlPart::Port, 10);
        wrong("http://h:65536/", UrlPart::Port, 9);
        wrong("http://h:0/", UrlPart::Port, 9);
        wrong("http://h/a b", UrlPart::Path, 10);
        wrong("http://h/%4", UrlPart::Path, 9);
        wrong("http://h/\0", UrlPart::Path, 9);
        wrong("http://h/?a[]=1", UrlPart::Query, 11);
        wrong("http://h/?100%", UrlPart::Query, 13);
        wrong("http://h/?q#a#b", UrlPart::Fragment, 13);
        wrong("http://h?\n", UrlPart::Query, 9);
    }

    #[test]
    fn an_address_has_one_form() {
        for text in
            ["127.1", "0x7f.1", "2130706433", "127.0.0.01", "1.2.3.4.5", "a.256", "127.0.0.0x1", "127.0.0.1."]
        {
            wrong(&format!("http://{text}/"), UrlPart::Host, 7);
        }
        let host = |text: &str| text.parse::<Url>().unwrap().host().to_owned();
        assert_eq!(host("http://127.0.0.1:8080"), "127.0.0.1");
        assert_eq!(host("http://[0:0::1]:8080"), "[::1]");
        assert_eq!(host("http://4.example.0a"), "4.example.0a");
    }

    #[test]
    fn parts_are_found_and_normalised() {
        let url: Url = "https://me:pw@EXAMPLE.org.:8443/a/./b/../c?x=/?#y/?".parse().unwrap();
        assert_eq!(url.userinfo(), Some("me:pw"));
        assert_eq!((url.host(), url.port(), url.authority()), ("example.org.", 8443, "example.org.:8443"));
        assert_eq!((url.path(), url.query(), url.fragment()), ("/a/c", Some("x=/?"), Some("y/?")));
        let url: Url = "http://h:".parse().unwrap();
        assert_eq!((url.to_string(), url.port()), ("http://h/".to_owned(), 80));
        assert_eq!("http://h?".parse::<Url>().unwrap().target(), "/?");
    }
}
