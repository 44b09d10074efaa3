//! A small web site on this machine: some pages, a login form, and a page for members.

use enjamb::{Conn, Input, Protocol};
use std::collections::HashMap;
use std::io;

/// The name and password of the only member.
pub const MEMBER: (&str, &str) = ("ann", "enjambement");

/// The value of the form's hidden input `token`. A login must send it back.
const TOKEN: &str = "t7&x=1";
const COOKIE: &str = "room=42";
/// No request to this site is longer.
const LONGEST_REQUEST: usize = 16 * 1024;

/// One connection of a browser. The browser closes it.
pub struct Site;

impl<S> Protocol<S> for Site {
    fn received(&mut self, conn: &mut Conn<'_, S>, input: &mut Input<'_>) -> io::Result<()> {
        while let Some((length, request)) = SiteRequest::parse(input.peek())? {
            let answer = request.answer();
            input.take(length);
            conn.write(answer.as_bytes());
        }
        if input.len() > LONGEST_REQUEST { Err(too_long()) } else { Ok(()) }
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a request of more than 16 KiB")
}

struct SiteRequest {
    /// Method and path.
    line: String,
    cookie: bool,
    form: HashMap<String, String>,
}

impl SiteRequest {
    /// The first request in these bytes and its length, if it is complete.
    fn parse(bytes: &[u8]) -> io::Result<Option<(usize, SiteRequest)>> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&bytes[..end]);
        let field = |name: &str| {
            let fields = head.lines().filter_map(|line| line.split_once(": "));
            fields.filter(|(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_string()).next()
        };
        // A length that does not fit into a `usize` is too long too.
        let length = field("content-length").map_or(Some(0), |length| length.parse().ok());
        let length = length.filter(|&length| length <= LONGEST_REQUEST).ok_or_else(too_long)?;
        let Some(body) = bytes.get(end..end + length) else { return Ok(None) };
        let body = String::from_utf8_lossy(body).into_owned();
        let line = head.split(" HTTP/").next().unwrap_or_default().to_string();
        let cookie =
            field("cookie").is_some_and(|cookies| cookies.split("; ").any(|cookie| cookie == COOKIE));
        let form = body.split('&').filter_map(|pair| pair.split_once('='));
        let form = form.map(|(name, value)| (decoded(name), decoded(value))).collect();
        Ok(Some((end + length, SiteRequest { line, cookie, form })))
    }

    fn answer(&self) -> String {
        let value = |name: &str| self.form.get(name).map_or("", String::as_str);
        match self.line.as_str() {
            "GET /login" => page(
                200,
                "",
                &format!(
                    "<form method=\"post\" action=\"/login\">\n\
                 <input type=\"hidden\" name=\"token\" value=\"{}\">\n\
                 <input name=\"name\"> <input type=\"password\" name=\"password\">\n\
                 <input type=\"hidden\" name=\"next\" value=\"/members\">\n</form>\n",
                    TOKEN.replace('&', "&amp;")
                ),
            ),
            "POST /login" if value("token") != TOKEN => page(403, "", "this is not the form that was sent\n"),
            "POST /login" if (value("name"), value("password")) == MEMBER => {
                let fields =
                    format!("Location: {}\r\nSet-Cookie: {COOKIE}; Path=/; HttpOnly\r\n", value("next"));
                page(303, &fields, "")
            }
            "POST /login" => page(401, "", "wrong name or password\n"),
            "GET /members" if self.cookie => page(200, "", "welcome to the members' room\n"),
            "GET /members" => page(401, "", "members only\n"),
            "POST /logout" => page(200, "Set-Cookie: room=; Path=/; Max-Age=0\r\n", "goodbye\n"),
            other if other.starts_with("GET /page/") => page(200, "", &format!("this is {other}\n")),
            other => page(404, "", &format!("there is no {other}\n")),
        }
    }
}

fn page(status: u16, fields: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} .\r\n{fields}Content-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Decodes a name or a value of a form: RFC 1866, section 8.2.1.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [byte, behind @ ..] = rest {
        let escape = behind.get(..2).filter(|_| *byte == b'%').and_then(|digits| str::from_utf8(digits).ok());
        let value = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(value.unwrap_or(if *byte == b'+' { b' ' } else { *byte }));
        rest = if value.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
