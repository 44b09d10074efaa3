//! Absolute URLs for http and https, in ASCII only (RFC 3986).

pub(in crate::http) mod parse;
pub(in crate::http) mod reference;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::http::error::{Error, UrlError, UrlPart};
use crate::http::url::parse::parse;

/// An absolute URL for http or https.
///
/// The parser is strict. It accepts the characters of RFC 3986, a host in ASCII (other names need their `xn--` form),
/// and an IPv4 address as four decimal numbers. Anything else is an error that names the part and the byte; the parser
/// never guesses. Scheme and host become lower-case, the default port is dropped, and `.` and `..` in the path are
/// resolved.
///
/// The user and password are stored apart from the text, for basic authentication. [`Display`](std::fmt::Display) does
/// not show them.
///
/// ```
/// use enjamb::http::Url;
///
/// let url: Url = "HTTP://Example.org:80/a/../b?q=1#top".parse()?;
/// assert_eq!(url.to_string(), "http://example.org/b?q=1#top");
/// assert_eq!((url.host(), url.port(), url.target()), ("example.org", 80, "/b?q=1"));
///
/// assert_eq!(url.join("../c?q=2")?.to_string(), "http://example.org/c?q=2");
///
/// let error = "http://example.org/a b".parse::<Url>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"the URL "http://example.org/a b": path at byte 20: this character must be written as % and two hexadecimal digits"#
/// );
/// # Ok::<(), enjamb::http::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url {
    /// The URL from the scheme to the end of the query, without the user and password. A call, its connection and its
    /// response share this text.
    pub(in crate::http) text: Arc<str>,
    pub(in crate::http) scheme: Scheme,
    /// Where the host ends.
    pub(in crate::http) host_end: usize,
    pub(in crate::http) target: usize,
    pub(in crate::http) port: u16,
    /// The user and password as written, with percent-encoding.
    pub(in crate::http) userinfo: Option<String>,
    pub(in crate::http) fragment: Option<String>,
}

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain TCP, not encrypted.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// The scheme's name, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port of a URL that names none: 80 for http, 443 for https.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }

    /// The length in bytes of `http://` or `https://`.
    pub(in crate::http) fn prefix_len(self) -> usize {
        self.as_str().len() + "://".len()
    }
}

/// The origin of a URL: scheme, host and port (RFC 6454 section 4).
///
/// Credentials belong to an origin. Cookies belong to a host: see [`Cookies`](crate::http::Cookies).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// The host, in lower case.
    pub host: &'a str,
    /// The port; the scheme's default port if the URL names none.
    pub port: u16,
}

impl Url {
    /// The scheme: http or https.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host: a name in lower case, an IPv4 address, or an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.text[self.scheme.prefix_len()..self.host_end]
    }

    /// The port; the scheme's default port if the URL names none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host and port for a `Host` field. The default port is left out.
    pub fn authority(&self) -> &str {
        &self.text[self.scheme.prefix_len()..self.target]
    }

    /// The origin: scheme, host and port.
    pub fn origin(&self) -> Origin<'_> {
        Origin { scheme: self.scheme, host: self.host(), port: self.port }
    }

    /// The path and query, as they go on the request line.
    pub fn target(&self) -> &str {
        &self.text[self.target..]
    }

    /// The path. It has at least one slash.
    pub fn path(&self) -> &str {
        self.target().split_once('?').map_or(self.target(), |(path, _)| path)
    }

    /// The text after the question mark, without the mark.
    pub fn query(&self) -> Option<&str> {
        self.target().split_once('?').map(|(_, query)| query)
    }

    /// The text after the `#`. A request does not contain it.
    pub fn fragment(&self) -> Option<&str> {
        self.fragment.as_deref()
    }

    /// The text before the `@`, with percent-encoding. The password may be missing.
    pub(crate) fn userinfo(&self) -> Option<&str> {
        self.userinfo.as_deref()
    }

    /// Removes the user and password.
    pub(crate) fn without_userinfo(mut self) -> Url {
        self.userinfo = None;
        self
    }

    /// Replaces the fragment.
    pub(crate) fn with_fragment(mut self, fragment: Option<&str>) -> Url {
        self.fragment = fragment.map(str::to_owned);
        self
    }

    /// Appends to the query. The text is already encoded.
    pub(crate) fn push_query(&mut self, encoded: &str) {
        let mark = match self.query() {
            None => "?",
            Some("") => "",
            Some(_) => "&",
        };
        self.text = [&self.text, mark, encoded].concat().into();
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        parse(text).map_err(|(part, at, why)| UrlError { url: redacted(text, part), part, at, why })
    }
}

impl TryFrom<&str> for Url {
    type Error = UrlError;

    fn try_from(text: &str) -> Result<Self, UrlError> {
        text.parse()
    }
}

impl TryFrom<&String> for Url {
    type Error = UrlError;

    fn try_from(text: &String) -> Result<Self, UrlError> {
        text.parse()
    }
}

impl TryFrom<String> for Url {
    type Error = UrlError;

    fn try_from(text: String) -> Result<Self, UrlError> {
        text.parse()
    }
}

/// A type that converts into a [`Url`]: a [`Url`] itself, or text.
pub trait IntoUrl {
    /// Converts into a [`Url`].
    ///
    /// # Errors
    ///
    /// [`Error::Url`] if the text is not a valid URL. As an [`io::Error`](std::io::Error) it has the kind
    /// `InvalidInput`.
    fn into_url(self) -> Result<Url, Error>;
}

impl<T> IntoUrl for T
where
    T: TryInto<Url>,
    Error: From<T::Error>,
{
    fn into_url(self) -> Result<Url, Error> {
        Ok(self.try_into()?)
    }
}

impl From<&Url> for Url {
    fn from(url: &Url) -> Self {
        url.clone()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.fragment {
            Some(fragment) => write!(f, "#{fragment}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme.as_str(), self.host, self.port)
    }
}

/// The text for an error message, with a possible user and password replaced by `…`. If the error is before the path,
/// everything up to the last `@` may be a password, since a slash in a password looks like the start of the path.
fn redacted(text: &str, part: UrlPart) -> String {
    let start = text.find("//").map_or(0, |slashes| slashes + 2);
    let in_front = matches!(part, UrlPart::Scheme | UrlPart::Userinfo | UrlPart::Host | UrlPart::Port);
    let end = if in_front { None } else { text[start..].find(['/', '?', '#']) };
    let end = end.map_or(text.len(), |length| start + length);
    match text[start..end].rfind('@') {
        Some(at) => format!("{}…{}", &text[..start], &text[start + at..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let url: Url = "http://me:secret@h/x".parse().unwrap();
        assert_eq!(format!("{url} {url:?}"), "http://h/x Url(http://h/x)");
        for text in
            ["http://me:secret@h h/", "http://me:sec ret@h/", "ftp://me:secret@h/", "http://me:x/secret@h"]
        {
            let error = text.parse::<Url>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("ret"), "{error:?}");
        }
    }

    #[test]
    fn origins_differ_by_scheme_host_and_port() {
        let origin = |text: &str| text.parse::<Url>().unwrap().origin().to_string();
        assert_eq!(origin("http://h/a"), origin("HTTP://H:80/b?c#d"));
        for other in ["https://h/", "http://h:81/", "http://g/", "https://h:80/"] {
            assert_ne!(origin("http://h/"), origin(other));
        }
    }

    #[test]
    fn a_query_grows_with_the_right_mark() {
        for (text, with) in [("http://h", "/?x"), ("http://h/?", "/?x"), ("http://h/?a=b", "/?a=b&x")] {
            let mut url: Url = text.parse().unwrap();
            url.push_query("x");
            assert_eq!(url.target(), with);
        }
    }
}
