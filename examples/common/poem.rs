//! Poems, and the pieces in which slow servers send them.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

/// What is sent when no poem is given.
pub const DEFAULT: &str = "1111\n2222\n3333\n4444\n";

/// A poem from a file. The error is a sentence that names the file.
pub fn read(path: &Path) -> Result<String, String> {
    let name = path.display();
    let bytes = fs::read(path).map_err(|error| format!("cannot read the poem {name}: {error}"))?;
    let poem = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        format!(
            "the poem {name} is not UTF-8 (from byte {valid} on): convert it first, for example with iconv"
        )
    })?;
    if poem.trim().is_empty() {
        return Err(format!("the poem {name} is empty: it needs at least one line"));
    }
    Ok(poem)
}

/// The pieces to send one at a time: the lines without their newlines, or `num_bytes` at a time as the poem stands,
/// wherever that cuts it (also inside a character).
pub fn pieces(poem: &str, num_bytes: Option<NonZeroUsize>) -> Vec<Vec<u8>> {
    match num_bytes {
        Some(size) => poem.as_bytes().chunks(size.get()).map(<[u8]>::to_vec).collect(),
        // An empty line would be a pause in which nothing is sent.
        None => poem.lines().filter(|line| !line.is_empty()).map(|line| line.as_bytes().to_vec()).collect(),
    }
}
