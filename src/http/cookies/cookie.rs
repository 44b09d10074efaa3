//! One cookie: what a Set-Cookie field says (RFC 6265bis section 5.6), and where it goes.

use std::time::{Duration, SystemTime};

use crate::http::cookies::date::cookie_date;
use crate::http::{Scheme, Url};

/// Most bytes of a name and value together; larger cookies are not kept.
pub const COOKIE_LIMIT: usize = 4096;
/// Most bytes of an attribute's value; longer ones are passed over.
const ATTRIBUTE_LIMIT: usize = 1024;
/// No cookie is kept longer than 400 days.
const LONGEST: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// A cookie, as it is kept.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cookie {
    /// Its name; may be empty.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The host that it is for.
    pub domain: String,
    /// Whether it is for that host alone, and not for those below it.
    pub host_only: bool,
    /// Where the paths that it is for begin.
    pub path: String,
    /// Whether it goes over https only.
    pub secure: bool,
    /// Whether the server wants it kept from scripts. There are none here.
    pub http_only: bool,
    /// When it ends; `None`: with the session.
    pub expires: Option<SystemTime>,
}

/// The value may be a secret; it is not shown.
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
    /// The cookie that a field in an answer from this URL sets; `None` where it is not to be kept.
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
        // Max-Age goes before Expires.
        cookie.expires = match max_age {
            Some(Some(age)) => now.checked_add(age.min(LONGEST)),
            Some(None) => Some(SystemTime::UNIX_EPOCH),
            None => cookie.expires.map(|at| now.checked_add(LONGEST).map_or(at, |longest| at.min(longest))),
        };
        // Without a list of public suffixes, those of one label can be told at least.
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

    /// The promises that a name makes (section 4.1.3); a value without a name cannot make them.
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

    /// Whether it is sent with a request to this URL, if it has not ended.
    pub(crate) fn is_for(&self, url: &Url) -> bool {
        let host =
            if self.host_only { url.host() == self.domain } else { domain_matches(url.host(), &self.domain) };
        host && path_matches(url.path(), &self.path) && (!self.secure || url.scheme() == Scheme::Https)
    }

    /// Whether it is another value of the same cookie.
    pub(crate) fn replaces(&self, other: &Cookie) -> bool {
        let of = |cookie: &Cookie| {
            (cookie.name.clone(), cookie.domain.clone(), cookie.host_only, cookie.path.clone())
        };
        of(self) == of(other)
    }

    /// Whether it would hide a cookie that came over https: from http, it may not (section 5.7).
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

/// `Some(None)`: no time at all, or less.
fn seconds(text: &str) -> Option<Option<Duration>> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Too many digits are too long a time.
    let seconds = digits.parse().unwrap_or(u64::MAX);
    Some((!negative && seconds > 0).then(|| Duration::from_secs(seconds)))
}

/// Up to the last slash, without it (section 5.1.4).
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

/// Whether the host is the domain or below it (section 5.1.3); an address is below nothing.
fn domain_matches(host: &str, domain: &str) -> bool {
    host == domain
        || (!is_address(host) && host.strip_suffix(domain).is_some_and(|start| start.ends_with('.')))
}

pub(crate) fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok()
}
