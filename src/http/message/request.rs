//! Requests, and a builder that checks them.

use std::fmt;

use crate::http::message::basic::{basic, from_userinfo};
use crate::http::{Error, Headers, IntoUrl, Method, Url, form_encode};

/// The body of a request.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Body {
    /// No body.
    #[default]
    Empty,
    /// The whole body.
    Bytes(Vec<u8>),
    /// A streamed body, written with a [`BodyWriter`](crate::http::BodyWriter): of this length in bytes, or in chunks
    /// if the length is not known.
    Stream(Option<u64>),
}

impl Body {
    /// Whether the body can be sent a second time.
    pub fn is_replayable(&self) -> bool {
        !matches!(self, Body::Stream(_))
    }
}

/// The bytes may be secret and numerous, so they are not shown.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Empty => f.write_str("Empty"),
            Body::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Body::Stream(length) => f.debug_tuple("Stream").field(length).finish(),
        }
    }
}

/// A valid request: [`build`](RequestBuilder::build) has checked it.
///
/// ```
/// use enjamb::http::Request;
///
/// let request = Request::get("http://example.org/search").query([("q", "run on")]).build()?;
/// assert_eq!(request.url().to_string(), "http://example.org/search?q=run+on");
///
/// let request = Request::post("https://example.org/login")
///     .form([("user", "ann"), ("password", "a&b")])
///     .header("Accept", "text/html")
///     .build()?;
/// assert_eq!(request.headers().get("content-type"), Some("application/x-www-form-urlencoded"));
///
/// let error = Request::get("http://example.org/").header("X-Note", "a\nb").build().unwrap_err();
/// assert!(error.to_string().starts_with(r#"the header "X-Note": its value, byte 1"#));
/// # Ok::<(), enjamb::http::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub(in crate::http) method: Method,
    pub(in crate::http) url: Url,
    pub(in crate::http) headers: Headers,
    pub(in crate::http) body: Body,
}

/// Builds a request. The builder keeps the first error until [`build`](RequestBuilder::build) returns it, so a chain of
/// calls needs a single `?`.
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is built"]
pub struct RequestBuilder(Result<Request, Error>);

impl Request {
    /// Builds a GET request: fetches a resource.
    pub fn get(url: impl IntoUrl) -> RequestBuilder {
        Self::to(Method::Get, url)
    }

    /// Builds a HEAD request: fetches the head of a response only.
    pub fn head(url: impl IntoUrl) -> RequestBuilder {
        Self::to(Method::Head, url)
    }

    /// Builds a POST request: submits a body.
    pub fn post(url: impl IntoUrl) -> RequestBuilder {
        Self::to(Method::Post, url)
    }

    /// Builds a PUT request: creates or replaces the resource.
    pub fn put(url: impl IntoUrl) -> RequestBuilder {
        Self::to(Method::Put, url)
    }

    /// Builds a DELETE request: removes the resource.
    pub fn delete(url: impl IntoUrl) -> RequestBuilder {
        Self::to(Method::Delete, url)
    }

    /// Builds a PATCH request: changes a part of the resource.
    pub fn patch(url: impl IntoUrl) -> RequestBuilder {
        Self::to(Method::Patch, url)
    }

    /// Builds an OPTIONS request: queries the supported methods and features.
    pub fn options(url: impl IntoUrl) -> RequestBuilder {
        Self::to(Method::Options, url)
    }

    /// Builds a request with any method.
    pub fn to(method: Method, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder(url.into_url().map(|url| Request {
            method,
            url,
            headers: Headers::new(),
            body: Body::Empty,
        }))
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The URL of the request.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The fields that the caller set. [`write_head`](Self::write_head) adds the fields that follow from the request
    /// (`Host`, the body's length) and the default ones.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Whether the body waits for a 100 from the server (RFC 9110 section 10.1.1). A [`Session`](crate::http::Session)
    /// waits for one second at most, since many servers never send a 100.
    pub fn expects_continue(&self) -> bool {
        self.headers.contains("expect")
    }

    /// Whether the client asks for gzip by itself and decodes it. It does not if the caller set `Accept-Encoding`, or
    /// asks for a `Range` of the body.
    pub(crate) fn accepts_gzip(&self) -> bool {
        cfg!(feature = "gzip") && !self.headers.contains("accept-encoding") && !self.headers.contains("range")
    }

    /// Writes the request line, the fields and the empty line after them. `cookies` is the value from the
    /// [jar](crate::http::Cookies::header).
    pub fn write_head(&self, cookies: Option<&str>, out: &mut Vec<u8>) {
        let mut put = |parts: [&str; 4]| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        put([self.method.as_str(), " ", self.url.target(), " HTTP/1.1\r\n"]);
        let by_default = [
            ("Host", Some(self.url.authority())),
            ("User-Agent", Some(concat!("enjamb/", env!("CARGO_PKG_VERSION")))),
            ("Accept", Some("*/*")),
            ("Accept-Encoding", self.accepts_gzip().then_some("gzip")),
        ];
        for (name, value) in by_default {
            // Host comes first (RFC 9112 section 3.2), even if the caller set it.
            let own = (name == "Host").then(|| self.headers.get(name)).flatten();
            match own.or(value) {
                Some(value) if own.is_some() || !self.headers.contains(name) => {
                    put([name, ": ", value, "\r\n"])
                }
                _ => {}
            }
        }
        for (name, value) in self.headers.iter() {
            if !name.eq_ignore_ascii_case("host") && !name.eq_ignore_ascii_case("cookie") {
                put([name, ": ", value, "\r\n"]);
            }
        }
        // All cookies go in one field (RFC 6265 section 5.4).
        let all: Vec<&str> = self.headers.get_all("cookie").chain(cookies).collect();
        if !all.is_empty() {
            put(["Cookie: ", &all.join("; "), "\r\n", ""]);
        }
        let length = match &self.body {
            Body::Empty => self.method.expects_body().then_some(0),
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::Stream(length) => *length,
        };
        match (&self.body, length) {
            (_, Some(length)) => put(["Content-Length: ", &length.to_string(), "\r\n", ""]),
            (Body::Stream(None), None) => put(["Transfer-Encoding: chunked\r\n", "", "", ""]),
            (_, None) => {}
        }
        put(["\r\n", "", "", ""]);
    }
}

impl RequestBuilder {
    /// Adds names and values to the URL's query, encoded as a form.
    pub fn query<N: AsRef<str>, V: AsRef<str>>(mut self, pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        if let Ok(request) = &mut self.0 {
            let encoded = form_encode(pairs);
            if !encoded.is_empty() {
                request.url.push_query(&encoded);
            }
        }
        self
    }

    /// Adds a field. Content-Length and Transfer-Encoding follow from the body and cannot be set.
    pub fn header(self, name: &str, value: &str) -> Self {
        self.and_then(|request| {
            check_framing(name)?;
            Ok(request.headers.append(name, value)?)
        })
    }

    /// Replaces all fields of this name. Use it to change the `Content-Type` of a [form](Self::form).
    pub fn set_header(self, name: &str, value: &str) -> Self {
        self.and_then(|request| {
            check_framing(name)?;
            Ok(request.headers.set(name, value)?)
        })
    }

    /// Sets basic authentication (RFC 7617). The password is readable on the way unless the URL is https. A user and
    /// password in the URL, as in `http://ann:pw@example.org/`, have the same effect.
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        self.and_then(|request| {
            let credentials = basic(user.as_bytes(), password.as_bytes())?;
            Ok(request.headers.set("Authorization", &credentials)?)
        })
    }

    /// Sets the body. A `Content-Type` field should describe it.
    pub fn body(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.and_then(|request| {
            request.body = Body::Bytes(bytes.into());
            Ok(())
        })
    }

    /// Sets a form as the body, in the encoding of browsers.
    pub fn form<N: AsRef<str>, V: AsRef<str>>(self, pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        self.and_then(|request| {
            request.body = Body::Bytes(form_encode(pairs).into_bytes());
            Ok(request.headers.set("Content-Type", "application/x-www-form-urlencoded")?)
        })
    }

    /// Announces a streamed body: of this length in bytes, or in chunks for `None`.
    pub fn stream(self, length: impl Into<Option<u64>>) -> Self {
        self.and_then(|request| {
            request.body = Body::Stream(length.into());
            Ok(())
        })
    }

    /// Makes the body wait until the server asks for it with a 100.
    pub fn expect_continue(self) -> Self {
        self.and_then(|request| Ok(request.headers.set("Expect", "100-continue")?))
    }

    /// Checks the request and returns it.
    ///
    /// # Errors
    ///
    /// The first error: [`Error::Url`], [`Error::Header`] or [`Error::Request`]. As an [`io::Error`](std::io::Error)
    /// each has the kind `InvalidInput`.
    pub fn build(self) -> Result<Request, Error> {
        let mut request = self.0?;
        if let Some(userinfo) = request.url.userinfo() {
            if !request.headers.contains("authorization") {
                let credentials = from_userinfo(userinfo)?;
                request.headers.set("Authorization", &credentials)?;
            }
            // The user and password are in the Authorization field now; remove them from the URL.
            request.url = request.url.without_userinfo();
        }
        for single in ["host", "authorization", "content-type", "expect"] {
            if request.headers.get_all(single).nth(1).is_some() {
                return Err(Error::Request(
                    "a request has at most one Host, one Authorization, one Content-Type and one Expect; \
                     set_header replaces what is there",
                ));
            }
        }
        if let Some(expect) = request.headers.get("expect") {
            if !expect.eq_ignore_ascii_case("100-continue") {
                return Err(Error::Request("the only supported Expect is 100-continue"));
            }
            if request.body == Body::Empty {
                return Err(Error::Request("Expect: 100-continue needs a body"));
            }
        }
        Ok(request)
    }

    fn and_then(mut self, change: impl FnOnce(&mut Request) -> Result<(), Error>) -> Self {
        if let Ok(request) = &mut self.0
            && let Err(error) = change(request)
        {
            self.0 = Err(error);
        }
        self
    }
}

fn check_framing(name: &str) -> Result<(), Error> {
    for framing in ["content-length", "transfer-encoding"] {
        if name.eq_ignore_ascii_case(framing) {
            return Err(Error::Request(
                "Content-Length and Transfer-Encoding follow from the body and cannot be set",
            ));
        }
    }
    Ok(())
}

/// Calls [`RequestBuilder::build`], so that a function that takes a request also takes a builder.
impl TryFrom<RequestBuilder> for Request {
    type Error = Error;

    fn try_from(builder: RequestBuilder) -> Result<Self, Error> {
        builder.build()
    }
}
