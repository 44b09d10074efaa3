//! Redirects: the decision to follow one, and the next request.

use crate::http::error::RedirectError;
use crate::http::url::reference::escape_illegal;
use crate::http::{Body, Head, Headers, Method, Request, Scheme, Url};

/// The default limit on redirects.
pub const REDIRECT_LIMIT: u32 = 10;

/// Credentials are sent only to the origin for which the caller set them. A Host field is the caller's own name for
/// that origin.
const CREDENTIALS: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "host"];
/// These fields describe the body, and are dropped with it.
const OF_THE_BODY: [&str; 6] =
    ["content-type", "content-encoding", "content-language", "content-location", "content-md5", "expect"];

/// Follows the redirects of one request (RFC 9110 section 15.4).
///
/// ```
/// # use enjamb::{Input, http::{Event, ResponseParser}};
/// use enjamb::http::{Redirects, Request};
///
/// # let head = |request: &Request, bytes: &[u8]| match ResponseParser::new(request).next(&mut Input::new(bytes)) {
/// #     Ok(Event::Head(head)) => head,
/// #     other => panic!("{other:?}"),
/// # };
/// let mut request = Request::post("http://example.org/login").form([("user", "ann")]).build()?;
/// let mut redirects = Redirects::default();
/// let response = head(&request, b"HTTP/1.1 303 See Other\r\nLocation: /welcome\r\n\r\n");
/// assert!(redirects.follow(&mut request, &response)?); // the request is now the next one:
/// assert_eq!(request.method().as_str(), "GET");
/// assert_eq!(request.url().to_string(), "http://example.org/welcome");
/// # Ok::<(), enjamb::http::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Redirects {
    /// The maximum number of redirects in a row. Default [`REDIRECT_LIMIT`]. With 0, the first redirect is an error.
    pub limit: u32,
    /// Whether a redirect may lead from https to http. Default no.
    pub allow_downgrade: bool,
    /// The number of redirects followed so far.
    pub followed: u32,
}

impl Default for Redirects {
    fn default() -> Self {
        Redirects { limit: REDIRECT_LIMIT, allow_downgrade: false, followed: 0 }
    }
}

impl Redirects {
    /// Returns whether the response with this head is a redirect to follow. If it is, `request` becomes the next
    /// request. If that goes to another origin, its credentials are dropped. Cookies from a jar are not part of the
    /// request: ask the jar again.
    ///
    /// # Errors
    ///
    /// The redirect cannot be followed. The request is unchanged.
    pub fn follow(&mut self, request: &mut Request, head: &Head) -> Result<bool, RedirectError> {
        let becomes_get = match head.status {
            301 | 302 => request.method == Method::Post,
            303 => request.method != Method::Head,
            307 | 308 => false,
            _ => return Ok(false),
        };
        let Some(location) = location(&head.headers)? else { return Ok(false) };
        let url = resolve(&request.url, location).map_err(RedirectError::Location)?;
        if self.followed >= self.limit {
            return Err(RedirectError::TooMany(self.limit));
        }
        if request.url.scheme() == Scheme::Https && url.scheme() == Scheme::Http && !self.allow_downgrade {
            return Err(RedirectError::Downgrade(url.to_string()));
        }
        if !becomes_get && !request.body.is_replayable() {
            return Err(RedirectError::NotReplayable(url.to_string()));
        }
        self.followed += 1;
        if becomes_get {
            request.method = Method::Get;
            request.body = Body::Empty;
            remove(&mut request.headers, &OF_THE_BODY);
        }
        if url.origin() != request.url.origin() {
            remove(&mut request.headers, &CREDENTIALS);
        }
        request.url = url;
        Ok(true)
    }
}

fn remove(headers: &mut Headers, names: &[&str]) {
    for name in names {
        headers.remove(name);
    }
}

/// The value of the Location field. All copies must be equal.
fn location(headers: &Headers) -> Result<Option<&str>, RedirectError> {
    let mut all = headers.get_all("location");
    let first = all.next();
    if all.any(|other| Some(other) != first) { Err(RedirectError::Ambiguous) } else { Ok(first) }
}

/// Resolves the Location. A user and password in it come from the server, not from the caller, and are dropped. A
/// missing fragment is inherited (RFC 9110 section 10.2.2).
fn resolve(from: &Url, location: &str) -> Result<Url, crate::http::UrlError> {
    let url = from.join(&escape_illegal(location))?.without_userinfo();
    let fragment = url.fragment().or(from.fragment()).map(str::to_owned);
    Ok(url.with_fragment(fragment.as_deref()))
}
