//! The cookie jar (RFC 6265bis).

pub(in crate::http) mod cookie;
pub(in crate::http) mod date;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::http::cookies::cookie::{Cookie, is_address};
use crate::http::{Headers, Scheme, Url};

/// The maximum number of cookies for one domain.
pub const COOKIES_PER_HOST: usize = 50;
/// The maximum number of cookies in a jar.
pub const COOKIES_IN_ALL: usize = 3_000;

/// A cookie jar (RFC 6265bis). It honours `Secure`, `HttpOnly`, `Path`, `Domain`, `Max-Age` and `Expires`, and the
/// prefixes `__Secure-` and `__Host-`.
///
/// There is no list of public suffixes: a server below `co.uk` can set a cookie for all of `co.uk`, though not for
/// `uk`. Do not share a jar between servers that must not learn of each other. `SameSite` is ignored, since no site
/// embeds another here.
///
/// A cookie belongs to a host, on any port, and goes to both https and http unless it is `Secure` (section 8.5). A host
/// with a trailing dot is not the same host as the one without. A cookie with bytes that are not UTF-8 is dropped,
/// since it could not be sent back unchanged.
///
/// ```
/// use enjamb::http::{Cookies, Headers, Url};
/// use std::time::SystemTime;
///
/// let (mut jar, now) = (Cookies::new(), SystemTime::now());
/// let url: Url = "https://example.org/login".parse()?;
/// let mut response = Headers::new();
/// response.append("Set-Cookie", "id=31; Path=/; Secure; HttpOnly")?;
/// jar.store(&url, &response, now);
/// assert_eq!(jar.header(&"https://example.org/members".parse()?, now).as_deref(), Some("id=31"));
/// assert_eq!(jar.header(&"http://example.org/members".parse()?, now), None);
/// # Ok::<(), enjamb::http::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Cookies {
    /// The cookies, by domain.
    kept: BTreeMap<String, Vec<Kept>>,
    len: usize,
    /// A counter of changes and uses. It orders the cookies by age and by last use.
    clock: u64,
}

#[derive(Debug, Clone)]
struct Kept {
    cookie: Cookie,
    created: u64,
    used: u64,
}

impl Kept {
    /// The time of the last use. No two cookies have the same, even if one request used both.
    fn last_used(&self) -> (u64, u64) {
        (self.used, self.created)
    }
}

impl Cookies {
    /// Creates an empty jar.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of cookies, expired ones included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the jar is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All cookies, ordered by domain.
    pub fn iter(&self) -> impl Iterator<Item = &Cookie> {
        self.kept.values().flatten().map(|kept| &kept.cookie)
    }

    /// Removes all cookies: a log-out without the server.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Stores the cookies that the response from this URL sets. As the RFC requires, a cookie is ignored if it is
    /// malformed, too large, or set for another host.
    pub fn store(&mut self, url: &Url, response: &Headers, now: SystemTime) {
        for field in response.get_all_exact("set-cookie") {
            if let Some(cookie) = Cookie::parse(field, url, now) {
                self.keep(cookie, url, now);
            }
        }
    }

    /// The value of the Cookie field for a request to this URL. `None` if no cookie applies.
    pub fn header(&mut self, url: &Url, now: SystemTime) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        self.clock += 1;
        let mut found = Vec::new();
        for domain in domains(url.host()) {
            for kept in self.kept.get_mut(domain).into_iter().flatten() {
                if kept.cookie.is_for(url) && !kept.cookie.has_ended(now) {
                    kept.used = self.clock;
                    let order = (Reverse(kept.cookie.path.len()), kept.created);
                    found.push((order, pair(&kept.cookie)));
                }
            }
        }
        // Longer paths first, then older cookies (section 5.8.3).
        found.sort();
        let pairs: Vec<String> = found.into_iter().map(|(_, pair)| pair).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    fn keep(&mut self, cookie: Cookie, url: &Url, now: SystemTime) {
        let hidden = |kept: &Kept| cookie.hides(&kept.cookie);
        if url.scheme() == Scheme::Http && self.kept.values().flatten().any(hidden) {
            return;
        }
        self.clock += 1;
        let mut created = self.clock;
        let domain = cookie.domain.clone();
        let of_domain = self.kept.entry(domain.clone()).or_default();
        self.len -= of_domain.len();
        if let Some(at) = of_domain.iter().position(|old| cookie.replaces(&old.cookie)) {
            created = of_domain.remove(at).created;
        }
        if !cookie.has_ended(now) {
            if of_domain.len() >= COOKIES_PER_HOST {
                of_domain.retain(|kept| !kept.cookie.has_ended(now));
            }
            if of_domain.len() >= COOKIES_PER_HOST {
                // Cookies that are not Secure go first, since eavesdroppers may have seen them.
                let least = of_domain
                    .iter()
                    .enumerate()
                    .min_by_key(|(_, kept)| (kept.cookie.secure, kept.last_used()));
                let at = least.map_or(0, |(at, _)| at);
                of_domain.remove(at);
            }
            of_domain.push(Kept { cookie, created, used: self.clock });
        }
        self.len += of_domain.len();
        if of_domain.is_empty() {
            self.kept.remove(&domain);
        }
        self.bound(now);
    }

    /// Enforces the limit on the whole jar. Expired cookies go first, then the least recently used (section 5.7).
    fn bound(&mut self, now: SystemTime) {
        if self.len > COOKIES_IN_ALL {
            self.retain(|kept| !kept.cookie.has_ended(now));
        }
        while self.len > COOKIES_IN_ALL {
            let Some(least) = self.kept.values().flatten().map(Kept::last_used).min() else { return };
            self.retain(|kept| kept.last_used() != least);
        }
    }

    fn retain(&mut self, wanted: impl Fn(&Kept) -> bool) {
        for of_domain in self.kept.values_mut() {
            of_domain.retain(&wanted);
        }
        self.kept.retain(|_, of_domain| !of_domain.is_empty());
        self.len = self.kept.values().map(Vec::len).sum();
    }
}

fn pair(cookie: &Cookie) -> String {
    if cookie.name.is_empty() { cookie.value.clone() } else { format!("{}={}", cookie.name, cookie.value) }
}

/// The host and its parent domains.
fn domains(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(host), |domain| domain.split_once('.').map(|(_, above)| above))
        .take(if is_address(host) { 1 } else { usize::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_that_has_ended_leaves_nothing_behind() {
        let (mut jar, url) = (Cookies::new(), "http://h/".parse().unwrap());
        for cookie in ["a=b; Max-Age=0", "a=b", "a=b; Max-Age=0"] {
            let mut response = Headers::new();
            response.append("Set-Cookie", cookie).unwrap();
            jar.store(&url, &response, SystemTime::UNIX_EPOCH);
        }
        assert!(jar.kept.is_empty());
    }
}
