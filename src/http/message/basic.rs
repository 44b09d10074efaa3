//! Basic authentication (RFC 7617).

use crate::http::Error;

/// The value of an Authorization field for this user and password.
pub(crate) fn basic(user: &[u8], password: &[u8]) -> Result<String, Error> {
    if user.contains(&b':') {
        return Err(Error::Request("a user name for basic authentication must not contain a colon"));
    }
    if user.iter().chain(password).any(u8::is_ascii_control) {
        return Err(Error::Request(
            "a user name and password for basic authentication must not contain control characters",
        ));
    }
    Ok(format!("Basic {}", base64(&[user, b":", password].concat())))
}

/// The value of an Authorization field for the user and password of a URL.
pub(crate) fn from_userinfo(userinfo: &str) -> Result<String, Error> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    basic(&percent_decoded(user), &percent_decoded(password))
}

/// Decodes the percent-encoding of a URL's part. The URL parser has already checked the escapes.
fn percent_decoded(text: &str) -> Vec<u8> {
    let (mut decoded, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&byte, behind)) = rest.split_first() {
        let escape = (byte == b'%').then(|| behind.first_chunk::<2>()).flatten();
        let value = escape.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        decoded.push(value.unwrap_or(byte));
        rest = if value.is_some() { &behind[2..] } else { behind };
    }
    decoded
}

/// Base64 with padding (RFC 4648 section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 section 10.
    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    /// RFC 7617 sections 2 and 2.1.
    #[test]
    fn basic_credentials_are_those_of_the_rfc() {
        assert_eq!(basic(b"Aladdin", b"open sesame").unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(basic(b"test", "123£".as_bytes()).unwrap(), "Basic dGVzdDoxMjPCow==");
    }

    #[test]
    fn credentials_of_a_url_are_decoded() {
        assert_eq!(from_userinfo("Aladdin:open%20sesame"), basic(b"Aladdin", b"open sesame"));
        assert_eq!(from_userinfo("me"), basic(b"me", b""));
        assert_eq!(from_userinfo("me:a:b%3a"), basic(b"me", b"a:b:"));
    }

    #[test]
    fn what_cannot_be_sent_is_an_error() {
        assert!(basic(b"a:b", b"").is_err());
        assert!(basic(b"a", b"b\n").is_err());
        assert!(from_userinfo("a%0d:b").is_err());
        assert!(from_userinfo("a%3a:b").is_err());
    }
}
