//! Decoding of a body's text, by its charset.

use std::borrow::Cow;

use crate::http::Headers;

/// Decodes a body as text.
#[cfg(feature = "charset")]
pub(in crate::http) fn decode<'a>(headers: &Headers, body: &'a [u8]) -> Cow<'a, str> {
    let named = headers.get("content-type").and_then(charset);
    let encoding = named.and_then(|name| encoding_rs::Encoding::for_label(name.as_bytes()));
    // A byte order mark overrides the charset of the field: WHATWG Encoding, section 6.
    encoding.unwrap_or(encoding_rs::UTF_8).decode(body).0
}

#[cfg(not(feature = "charset"))]
pub(in crate::http) fn decode<'a>(_: &Headers, body: &'a [u8]) -> Cow<'a, str> {
    String::from_utf8_lossy(body)
}

/// The charset parameter of a Content-Type (RFC 9110 section 8.3.2).
#[cfg(feature = "charset")]
fn charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(all(test, feature = "charset"))]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_in_the_charset_that_is_named() {
        for (content_type, body, text) in [
            (Some("text/plain; charset=ISO-8859-1"), &b"caf\xe9"[..], "café"),
            (Some("text/plain;a=b; Charset=\"windows-1252\""), b"\x80", "€"),
            (Some("text/plain; charset=shift_jis"), b"\x82\xa0", "あ"),
            (Some("text/plain; charset=utf-8"), "é".as_bytes(), "é"),
            (Some("text/plain; charset=nonesuch"), "é".as_bytes(), "é"),
            (Some("text/plain"), b"\xff\xfea\0", "a"),
            (Some("text/plain; charset=ISO-8859-1"), b"\xef\xbb\xbf\xc3\xa9", "é"),
            (None, b"\xe9", "\u{fffd}"),
        ] {
            let mut headers = Headers::new();
            if let Some(content_type) = content_type {
                headers.append("Content-Type", content_type).unwrap();
            }
            assert_eq!(decode(&headers, body), text, "{content_type:?}");
        }
    }
}
