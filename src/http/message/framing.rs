//! The end of a body, by the rules of RFC 9112 section 6.3, in their order.

use crate::http::{Head, Headers, Method, Rule, Version};

/// The delimitation of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body.
    Nothing,
    /// The chunked transfer coding.
    Chunked,
    /// A Content-Length, in bytes.
    Length(u64),
    /// The end of the stream.
    Close,
}

impl Framing {
    pub(crate) fn of(method: Method, head: &Head) -> Result<Framing, Rule> {
        if method == Method::Head || matches!(head.status, 100..=199 | 204 | 304) {
            return Ok(Framing::Nothing);
        }
        if head.headers.contains("transfer-encoding") {
            return transfer_encoding(head);
        }
        Ok(content_length(&head.headers)?.map_or(Framing::Close, Framing::Length))
    }
}

/// The framing by a Transfer-Encoding. It overrides a Content-Length, which is ignored, and the connection is not
/// reused (RFC 9112 section 6.3): see [`TwoFramings`](crate::http::NotReusable::TwoFramings).
///
/// Only a single `chunked` is accepted. With any other value the end of the body is a guess, and an intermediary may
/// guess differently.
fn transfer_encoding(head: &Head) -> Result<Framing, Rule> {
    let mut fields = head.headers.get_all("transfer-encoding");
    let only = fields.next().is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    if only && fields.next().is_none() && head.version == Version::Http11 {
        Ok(Framing::Chunked)
    } else {
        Err(Rule::TransferEncoding)
    }
}

/// The value of Content-Length. All copies must agree, whether they are separate fields or elements of one list.
///
/// Copies must have the same digits. RFC 9112 section 6.3 accepts a list of equal values as one value. RFC 9110 section
/// 8.6 gives the reason, and also allows a recipient to reject the message: "a duplicate was generated or combined by
/// an upstream message processor". `5` beside `05` is not such a duplicate: two programs wrote them, and another
/// recipient may read two lengths (`010` as octal).
fn content_length(headers: &Headers) -> Result<Option<u64>, Rule> {
    let values = headers.get_all("content-length").flat_map(|value| value.split(','));
    let mut copies = values.map(|value| value.trim_matches([' ', '\t']));
    let Some(said) = copies.next() else { return Ok(None) };
    let length = length(said).filter(|_| copies.all(|copy| copy == said));
    length.map(Some).ok_or(Rule::ContentLength)
}

/// Parses a length below 2^63 of digits only. `u64::from_str` would accept a plus sign.
fn length(text: &str) -> Option<u64> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|&length| length <= i64::MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_made_of_digits_below_2_to_the_63() {
        for (text, is) in [
            ("0", Some(0)),
            ("0042", Some(42)),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("9223372036854775808", None),
            ("18446744073709551616", None),
            ("+2", None),
            ("-2", None),
            ("2 2", None),
            ("0x2", None),
            ("٢", None),
            ("", None),
        ] {
            assert_eq!(length(text), is, "{text:?}");
        }
    }
}
