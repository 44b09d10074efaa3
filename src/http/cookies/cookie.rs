//! One cookie: parsing of a Set-Cookie field (RFC 6265bis section 5.6), and matching with a URL.

use std::time::{Duration, SystemTime};

use crate::http::cookies::date::cookie_date;
use crate::http::{Scheme, Url};

/// The maximum size of a name and value together, in bytes. Larger cookies are ignored.
pub const COOKIE_LIMIT: usize = 4096;
/// The maximum size of an attribute's value, in bytes. Longer attributes are ignored.
const ATTRIBUTE_LIMIT: usize = 1024;
/// The maximum lifetime of a cookie: 400 days.
const LONGEST: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// A cookie in the jar.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cookie {
    /// The name; it may be empty.
    pub name: String,
    /// The value.
    pub value: String,
    /// The domain: the host, or a parent domain of it.
    pub domain: String,
    /// Whether the cookie goes to this host only, and not to hosts below it.
    pub host_only: bool,
    /// The path. The cookie goes to this path and the paths below it.
    pub path: String,
    /// Whether the cookie goes over https only.
    pub secure: bool,
    /// Whether the server hides the cookie from scripts. It has no effect here.
    pub http_only: bool,
    /// The time at which the cookie expires. `None`: it lasts as long as the jar.
    pub expires: Option<SystemTime>,
}

/// The value may be a secret, so it is not shown.
impl std::fmt::Debug for Cookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cookie")
            .field("name", &self.name)
            .field("domain", &self.domain)
            .field("host_only", &self.host_only)
            .field("path", &self.path)
            .field("secure", &self.secure)
            .field("http_only", &self.http_only)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Cookie {
    /// Parses a Set-Cookie field of a response from this URL. `None` if the cookie must be ignored.
    pub(crate) fn parse(field: &str, url: &Url, now: SystemTime) -> Option<Cookie> {
        if field.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return None;
        }
        let (pair, attributes) = field.split_once(';').unwrap_or((field, ""));
        let (name, value) = pair.split_once('=').unwrap_or(("", pair));
        let (name, value) = (trim(name), trim(value));
        if name.len() + value.len() > COOKIE_LIMIT || name.len() + value.len() == 0 {
            return None;
        }
        let mut cookie = Cookie {
            name: name.to_owned(),
            value: value.to_owned(),
            domain: url.host().to_owned(),
            host_only: true,
            path: default_path(url.path()).to_owned(),
            secure: false,
            http_only: false,
            expires: None,
        };
        let (mut root_path, mut max_age) = (false, None);
        let mut domain = String::new();
        for attribute in attributes.split(';') {
            let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            let (name, value) = (trim(name), trim(value));
            if value.len() > ATTRIBUTE_LIMIT {
                continue;
            }
            match name.to_ascii_lowercase().as_str() {
                "expires" => cookie.expires = cookie_date(value).or(cookie.expires),
                "max-age" => max_age = seconds(value).or(max_age),
                "domain" => domain = value.strip_prefix('.').unwrap_or(value).to_ascii_lowercase(),
                "path" => {
                    root_path = value == "/";
                    let given = value.starts_with('/');
                    cookie.path = if given { value } else { default_path(url.path()) }.to_owned();
                }
                "secure" => cookie.secure = true,
                "httponly" => cookie.http_only = true,
                _ => {}
            }
        }
        // Max-Age overrides Expires.
        cookie.expires = match max_age {
            Some(Some(age)) => now.checked_add(age.min(LONGEST)),
            Some(None) => Some(SystemTime::UNIX_EPOCH),
            None => cookie.expires.map(|at| now.checked_add(LONGEST).map_or(at, |longest| at.min(longest))),
        };
        // A domain of one label is a public suffix, even without a list of them.
        let has_labels = domain.strip_suffix('.').unwrap_or(&domain).contains('.');
        if !domain.is_empty() && domain != cookie.domain {
            if !has_labels || !domain_matches(url.host(), &domain) {
                return None;
            }
            cookie.domain = domain;
            cookie.host_only = false;
        } else if has_labels && !is_address(&domain) {
            cookie.host_only = false;
        }
        let good = (!cookie.secure || url.scheme() == Scheme::Https) && cookie.keeps_its_prefix(root_path);
        good.then_some(cookie)
    }

    /// Checks the conditions of a `__Secure-` or `__Host-` name (section 4.1.3). A cookie without a name cannot meet
    /// them.
    fn keeps_its_prefix(&self, root_path: bool) -> bool {
        let text = if self.name.is_empty() { &self.value } else { &self.name };
        let has =
            |prefix: &str| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        match (has("__Host-"), has("__Secure-")) {
            (false, false) => true,
            _ if self.name.is_empty() => false,
            (true, _) => self.secure && self.host_only && root_path,
            (false, true) => self.secure,
        }
    }

    /// Whether the cookie goes with a request to this URL. Expiry is checked elsewhere.
    pub(crate) fn is_for(&self, url: &Url) -> bool {
        let host =
            if self.host_only { url.host() == self.domain } else { domain_matches(url.host(), &self.domain) };
        host && path_matches(url.path(), &self.path) && (!self.secure || url.scheme() == Scheme::Https)
    }

    /// Whether both have the same name, domain and path: this one replaces the other.
    pub(crate) fn replaces(&self, other: &Cookie) -> bool {
        let of = |cookie: &Cookie| {
            (cookie.name.clone(), cookie.domain.clone(), cookie.host_only, cookie.path.clone())
        };
        of(self) == of(other)
    }

    /// Whether the cookie would shadow a Secure cookie. A response over http must not set such a cookie (section 5.7).
    pub(crate) fn hides(&self, secure: &Cookie) -> bool {
        let domains =
            domain_matches(&self.domain, &secure.domain) || domain_matches(&secure.domain, &self.domain);
        secure.secure && self.name == secure.name && domains && path_matches(&self.path, &secure.path)
    }

    pub(crate) fn has_ended(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Parses the value of Max-Age. `Some(None)`: zero or negative, so the cookie expires at once.
fn seconds(text: &str) -> Option<Option<Duration>> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // A number that overflows is a very long time.
    let seconds = digits.parse().unwrap_or(u64::MAX);
    Some((!negative && seconds > 0).then(|| Duration::from_secs(seconds)))
}

/// The path up to its last slash, without that slash (section 5.1.4).
fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(last) => &path[..last],
    }
}

fn path_matches(path: &str, cookie: &str) -> bool {
    path.strip_prefix(cookie)
        .is_some_and(|rest| rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/'))
}

/// Whether the host is the domain or a subdomain of it (section 5.1.3). An IP address has no subdomains.
fn domain_matches(host: &str, domain: &str) -> bool {
    host == domain
        || (!is_address(host) && host.strip_suffix(domain).is_some_and(|start| start.ends_with('.')))
}

pub(crate) fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok()
}
