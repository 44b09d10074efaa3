//! The encoding of forms and queries: `application/x-www-form-urlencoded`.

/// Encodes names and values as a form's body or as a query.
///
/// The encoding is that of browsers (URL standard, "application/x-www-form-urlencoded serializing"). Letters, digits
/// and `*-._` stay. A blank becomes a plus sign. Every other byte of the UTF-8 text becomes % and two hexadecimal
/// digits.
///
/// ```
/// assert_eq!(enjamb::http::form_encode([("name", "Ann & Bob"), ("sum", "1+1")]), "name=Ann+%26+Bob&sum=1%2B1");
/// ```
pub fn form_encode<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> String {
    let mut encoded = String::new();
    for (name, value) in pairs {
        if !encoded.is_empty() {
            encoded.push('&');
        }
        push(&mut encoded, name.as_ref());
        encoded.push('=');
        push(&mut encoded, value.as_ref());
    }
    encoded
}

fn push(encoded: &mut String, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b' ' => encoded.push('+'),
            b'*' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.extend(['%', digit(DIGITS, byte >> 4), digit(DIGITS, byte & 15)]),
        }
    }
}

fn digit(digits: &[u8; 16], value: u8) -> char {
    char::from(digits[usize::from(value)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_that_means_something_is_encoded() {
        let all: String = (0..=0xff).map(char::from).collect();
        let encoded = form_encode([(all.as_str(), "")]);
        assert!(encoded.is_ascii());
        assert!(!encoded.bytes().any(|byte| b"&#?/ \r\n\0".contains(&byte)), "{encoded}");
        assert_eq!(encoded.matches('=').count(), 1);
        assert_eq!(form_encode([("ä", "~")]), "%C3%A4=%7E");
        assert_eq!(form_encode([("a", ""), ("", "b")]), "a=&=b");
        assert_eq!(form_encode::<&str, &str>([]), "");
    }
}
