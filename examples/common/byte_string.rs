//! Bytes for people: `b'one\r\n\xff'`, the notation that Python prints and reads.

use std::fmt;

/// Shows bytes on one line, whatever they are.
pub struct ByteString<'a>(pub &'a [u8]);

impl fmt::Display for ByteString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Like Python, the other quotes where that saves escaping.
        let double = self.0.contains(&b'\'') && !self.0.contains(&b'"');
        let quote = if double { '"' } else { '\'' };
        write!(f, "b{quote}")?;
        for &byte in self.0 {
            match byte {
                b'"' => f.write_str("\"")?,
                b'\'' if double => f.write_str("'")?,
                _ => write!(f, "{}", byte.escape_ascii())?,
            }
        }
        write!(f, "{quote}")
    }
}
