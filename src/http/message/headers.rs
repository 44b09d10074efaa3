//! Header fields: case-insensitive names, in order, with repetitions.

use std::fmt;

use crate::http::error::{HeaderByte, HeaderError};

/// Header fields (RFC 9110 section 5), in the order in which they were added or received.
///
/// Names are case-insensitive. Values are text: a received value that is not UTF-8 is decoded as ISO 8859-1 (RFC 9110
/// section 5.5).
///
/// ```
/// use enjamb::http::Headers;
///
/// let mut headers = Headers::new();
/// headers.append("Accept", "text/html")?;
/// headers.append("accept", "text/plain")?;
/// assert_eq!(headers.get("ACCEPT"), Some("text/html"));
/// assert_eq!(headers.get_all("accept").collect::<Vec<_>>(), ["text/html", "text/plain"]);
///
/// let error = headers.append("X-Note", "one\r\nX-Forged: two").unwrap_err();
/// assert_eq!(error.to_string(), r#"the header "X-Note": its value, byte 3: a CR, LF or NUL could inject another field"#);
/// # Ok::<(), enjamb::http::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Headers {
    /// All names and values in one string: one allocation for all fields.
    text: String,
    fields: Vec<Field>,
}

/// The place of a field in the text. Its value follows its name.
#[derive(Clone, Copy)]
struct Field {
    name: usize,
    value: usize,
    end: usize,
    /// Whether the value is unchanged, and was not decoded as ISO 8859-1.
    exact: bool,
}

impl Headers {
    /// Creates an empty list of fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The value of the first field with this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).next()
    }

    /// The values of all fields with this name.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The values of all fields with this name that would be sent back with the same bytes.
    pub(crate) fn get_all_exact<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let fields = self.fields.iter().zip(self.iter());
        fields
            .filter(move |(field, (other, _))| field.exact && other.eq_ignore_ascii_case(name))
            .map(|(_, (_, value))| value)
    }

    /// Whether there is a field with this name.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All fields in order, as name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields
            .iter()
            .map(|field| (&self.text[field.name..field.value], &self.text[field.value..field.end]))
    }

    /// Adds a field at the end.
    ///
    /// # Errors
    ///
    /// The name is not a token (RFC 9110 section 5.6.2), or the value contains a control character. Nothing is added
    /// then.
    pub fn append(&mut self, name: &str, value: &str) -> Result<(), HeaderError> {
        check(name, value)?;
        self.push(name, value.trim_matches([' ', '\t']), true);
        Ok(())
    }

    /// Replaces all fields of this name with this one.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append). Nothing is changed then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), HeaderError> {
        check(name, value)?;
        self.remove(name);
        self.push(name, value.trim_matches([' ', '\t']), true);
        Ok(())
    }

    /// Removes all fields of this name. Returns whether there were any.
    pub fn remove(&mut self, name: &str) -> bool {
        let (text, before) = (&self.text, self.fields.len());
        self.fields.retain(|field| !text[field.name..field.value].eq_ignore_ascii_case(name));
        self.fields.len() < before
    }

    /// Adds a field that is already checked.
    fn push(&mut self, name: &str, value: &str, exact: bool) {
        let start = self.text.len();
        self.text.push_str(name);
        let middle = self.text.len();
        self.text.push_str(value);
        self.fields.push(Field { name: start, value: middle, end: self.text.len(), exact });
    }

    /// Creates an empty list with room for this many fields, and for this many bytes in all.
    pub(crate) fn with_capacity(fields: usize, bytes: usize) -> Self {
        Headers { text: String::with_capacity(bytes), fields: Vec::with_capacity(fields) }
    }

    /// Adds a received field. In a folded value, each line break with the whitespace around it becomes one blank (RFC
    /// 9112 section 5.2). `None` if the value contains a forbidden byte.
    pub(crate) fn push_received(&mut self, name: &str, value: &[u8]) -> Option<()> {
        if !value.iter().any(|&byte| matches!(byte, b'\r' | b'\n' | 0)) {
            let value = trim(value);
            match str::from_utf8(value) {
                Ok(text) => self.push(name, text, true),
                Err(_) => self.push(name, &latin1(value), false),
            }
            return Some(());
        }
        let mut joined = Vec::with_capacity(value.len());
        for line in value.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = trim(line);
            if !joined.is_empty() && !line.is_empty() {
                joined.push(b' ');
            }
            joined.extend_from_slice(line);
        }
        // `joined` contains no LF, so the recursion ends here.
        if joined.iter().any(|&byte| matches!(byte, b'\r' | 0)) {
            None
        } else {
            self.push_received(name, &joined)
        }
    }

    /// The elements of a list field (RFC 9110 section 5.6.1), from all its lines. Empty elements are skipped.
    pub(crate) fn list<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.get_all(name)
            .flat_map(|value| value.split(','))
            .map(|element| element.trim_matches([' ', '\t']))
            .filter(|element| !element.is_empty())
    }

    /// Whether a list field contains this element, case-insensitively.
    pub(crate) fn lists(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|element| element.eq_ignore_ascii_case(token))
    }
}

/// Removes blanks and tabs at both ends. A CR stays: it is an error there.
fn trim(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = line {
        line = rest;
    }
    line
}

/// Decodes ISO 8859-1, the first 256 characters of Unicode.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// Whether a token may contain this byte (RFC 9110 section 5.6.2).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn check(name: &str, value: &str) -> Result<(), HeaderError> {
    let error = |at, why| Err(HeaderError { name: name.to_owned(), at, why });
    if name.is_empty() {
        return error(HeaderByte::Name(0), "it is empty");
    }
    if let Some(at) = name.bytes().position(|byte| !is_token_byte(byte)) {
        return error(HeaderByte::Name(at), "a name has only letters, digits and !#$%&'*+-.^_`|~");
    }
    match value.bytes().enumerate().find(|&(_, byte)| byte.is_ascii_control() && byte != b'\t') {
        Some((at, b'\r' | b'\n' | 0)) => {
            error(HeaderByte::Value(at), "a CR, LF or NUL could inject another field")
        }
        Some((at, _)) => error(HeaderByte::Value(at), "a value must not contain control characters"),
        None => Ok(()),
    }
}

/// The values of secret fields are not shown.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECRET: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];
        f.debug_map()
            .entries(self.iter().map(|(name, value)| {
                (
                    name,
                    if SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret)) { "…" } else { value },
                )
            }))
            .finish()
    }
}

/// Two lists are equal if they have the same fields in the same order, with case-insensitive names.
impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.iter().zip(other.iter()).all(|(a, b)| a.0.eq_ignore_ascii_case(b.0) && a.1 == b.1)
    }
}

impl Eq for Headers {}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(value: &[u8]) -> Option<String> {
        let mut headers = Headers::new();
        headers.push_received("X", value)?;
        headers.get("x").map(str::to_owned)
    }

    #[test]
    fn names_have_no_case_and_fields_keep_their_order() {
        let mut headers = Headers::new();
        for (name, value) in [("B", "1"), ("a", "2"), ("b", "3")] {
            headers.append(name, value).unwrap();
        }
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("B", "1"), ("a", "2"), ("b", "3")]);
        assert_eq!(headers.get_all("B").collect::<Vec<_>>(), ["1", "3"]);
        headers.set("B", "4").unwrap();
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("a", "2"), ("B", "4")]);
        assert!(headers.remove("A") && !headers.remove("A"));
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn a_bad_field_names_itself_and_the_byte_and_changes_nothing() {
        let mut headers = Headers::new();
        headers.append("X", "kept").unwrap();
        for (name, value, at) in [
            ("", "v", HeaderByte::Name(0)),
            ("X Y", "v", HeaderByte::Name(1)),
            ("X:", "v", HeaderByte::Name(1)),
            ("Ä", "v", HeaderByte::Name(0)),
            ("X", "v\r", HeaderByte::Value(1)),
            ("X", "\nv", HeaderByte::Value(0)),
            ("X", "vv\0", HeaderByte::Value(2)),
            ("X", "v\x7f", HeaderByte::Value(1)),
        ] {
            assert_eq!(headers.append(name, value).unwrap_err().at, at, "{name:?}: {value:?}");
            assert_eq!(headers.set(name, value).unwrap_err().name, name);
        }
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("X", "kept")]);
        headers.append("X", " tab\tand ä ").unwrap();
        assert_eq!(headers.get_all("x").last(), Some("tab\tand ä"));
    }

    #[test]
    fn folded_lines_are_joined_with_a_blank() {
        assert_eq!(received(b"one\r\n two\n\t three").unwrap(), "one two three");
        assert_eq!(received(b"one \r\n  \r\n two").unwrap(), "one two");
        assert_eq!(received(b"\r\n one").unwrap(), "one");
    }

    #[test]
    fn a_bare_cr_or_a_nul_is_not_received() {
        assert_eq!(received(b"one\rtwo"), None);
        assert_eq!(received(b"one\r\r\n two"), None);
        assert_eq!(received(b"one\0two"), None);
    }

    #[test]
    fn what_is_not_utf_8_is_iso_8859_1() {
        assert_eq!(received(b"caf\xc3\xa9").unwrap(), "caf\u{e9}");
        assert_eq!(received(b"caf\xe9").unwrap(), "caf\u{e9}");
    }

    #[test]
    fn lists_are_split_over_all_lines() {
        let mut headers = Headers::new();
        headers.append("Connection", "keep-alive, , Close").unwrap();
        headers.append("connection", "upgrade").unwrap();
        assert_eq!(headers.list("connection").collect::<Vec<_>>(), ["keep-alive", "Close", "upgrade"]);
        assert!(headers.lists("Connection", "close") && !headers.lists("Connection", "clo"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut headers = Headers::new();
        headers.append("Authorization", "Basic c2VjcmV0").unwrap();
        headers.append("Accept", "*/*").unwrap();
        assert_eq!(format!("{headers:?}"), r#"{"Authorization": "…", "Accept": "*/*"}"#);
    }
}
