//! Where a body ends: the rules of RFC 9112 section 6.3, in their order.

use crate::http::{Head, Headers, Method, Rule, Version};

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    Nothing,
    /// It comes in chunks.
    Chunked,
    /// It has so many bytes.
    Length(u64),
    /// It ends where the stream does.
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

/// A Transfer-Encoding overrides a Content-Length (RFC 9112 section 6.3), which is not looked at then, and the connection is
/// not used again: [`TwoFramings`](super::NotReusable::TwoFramings).
///
/// Anything but one `chunked` would leave the end of the body to guesses, and another guess to whoever stands in between.
fn transfer_encoding(head: &Head) -> Result<Framing, Rule> {
    let mut fields = head.headers.get_all("transfer-encoding");
    let only = fields.next().is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    if only && fields.next().is_none() && head.version == Version::Http11 {
        Ok(Framing::Chunked)
    } else {
        Err(Rule::TransferEncoding)
    }
}

/// The length said by all copies alike, whether they are fields of their own or elements of a list.
///
/// Copies have the same digits. RFC 9112 section 6.3 takes a list for one value where all of its values are the same, and
/// RFC 9110 section 8.6 says why, and that a recipient may also reject it: "a duplicate was generated or combined by an
/// upstream message processor". `5` beside `05` is no such duplicate: it has two authors, and another reader may see two
/// lengths (`010` as octal).
fn content_length(headers: &Headers) -> Result<Option<u64>, Rule> {
    let values = headers.get_all("content-length").flat_map(|value| value.split(','));
    let mut copies = values.map(|value| value.trim_matches([' ', '\t']));
    let Some(said) = copies.next() else { return Ok(None) };
    let length = length(said).filter(|_| copies.all(|copy| copy == said));
    length.map(Some).ok_or(Rule::ContentLength)
}

/// Digits only, where `u64::from_str` would take a plus sign, and below 2^63.
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
