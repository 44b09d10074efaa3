//! The poems: made up, each one different, or read from files. And the check that a client has read them.

use super::common::poem;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Makes a poem when it is asked for. So a client does not hold the texts while its memory is measured.
pub struct Poems {
    source: Source,
    num_bytes: Option<NonZeroUsize>,
}

enum Source {
    MadeUp { poems: usize, lines: usize },
    Files(Vec<String>),
}

impl Poems {
    pub fn made_up(poems: usize, lines: usize, num_bytes: Option<NonZeroUsize>) -> Self {
        Self { source: Source::MadeUp { poems, lines }, num_bytes }
    }

    pub fn from_files(paths: &[PathBuf], num_bytes: Option<NonZeroUsize>) -> Result<Self, String> {
        let texts = paths.iter().map(|path| poem::read(path)).collect::<Result<_, _>>()?;
        Ok(Self { source: Source::Files(texts), num_bytes })
    }

    pub fn len(&self) -> usize {
        match &self.source {
            Source::MadeUp { poems, .. } => *poems,
            Source::Files(texts) => texts.len(),
        }
    }

    pub fn by_lines(&self) -> bool {
        self.num_bytes.is_none()
    }

    /// Whether all poems have the same number of pieces, of the same lengths.
    pub fn all_alike(&self) -> bool {
        matches!(self.source, Source::MadeUp { .. })
    }

    /// What the server sends, one piece at a time.
    pub fn pieces(&self, poem: usize) -> Vec<Vec<u8>> {
        match &self.source {
            Source::MadeUp { poems, lines } => poem::pieces(&made_up(poem, *poems, *lines), self.num_bytes),
            Source::Files(texts) => poem::pieces(&texts[poem], self.num_bytes),
        }
    }

    /// What a client reads.
    fn text(&self, poem: usize) -> Vec<u8> {
        self.pieces(poem).concat()
    }

    /// Where each piece of a poem ends.
    pub fn piece_ends(&self, poem: usize) -> Vec<usize> {
        let mut end = 0;
        let mut end_of = |piece: &Vec<u8>| {
            end += piece.len();
            end
        };
        self.pieces(poem).iter().map(&mut end_of).collect()
    }

    /// How many pieces each poem has.
    pub fn piece_counts(&self) -> Vec<usize> {
        match &self.source {
            Source::MadeUp { poems, .. } => vec![self.pieces(0).len(); *poems],
            Source::Files(texts) => (0..texts.len()).map(|poem| self.pieces(poem).len()).collect(),
        }
    }

    pub fn longest_in_bytes(&self) -> usize {
        let different = if self.all_alike() { 0..1 } else { 0..self.len() };
        different.map(|poem| self.text(poem).len()).max().unwrap_or(0)
    }

    /// How many poems arrived byte for byte. `texts` has the whole text of each connection, in order.
    ///
    /// The server gives the poems of a port to its connections in the order of accept(2), which a client with threads
    /// does not control. So a text counts if it is any poem of its port that no connection before it has counted.
    pub fn verified<'a>(&self, ports: usize, texts: impl Iterator<Item = Option<&'a [u8]>>) -> usize {
        let of_port = |port: usize| (port..self.len()).step_by(ports).map(|poem| self.text(poem)).collect();
        let mut unclaimed: Vec<Vec<Vec<u8>>> = (0..ports).map(of_port).collect();
        let claim = |(connection, text): (usize, Option<&[u8]>)| {
            let candidates = &mut unclaimed[connection % ports];
            let found = candidates.iter().position(|poem| Some(&poem[..]) == text)?;
            Some(candidates.swap_remove(found))
        };
        texts.enumerate().filter_map(claim).count()
    }
}

/// With few poems, line 2 of each is `2222`, `bbbb` or `BBBB`: the letters show both the poem and the line.
const ALPHABETS: [&str; 3] = ["123456789", "abcdefghi", "ABCDEFGHI"];
/// With more poems, line 12 of poem 34 is `cccc.34`.
const LETTERS: &str = "123456789abcdefghijklmnopqrstuvwxyz";
const LETTERS_PER_LINE: usize = 4;

fn made_up(poem: usize, poems: usize, lines: usize) -> String {
    let text = |line: usize| match ALPHABETS.get(poem) {
        Some(alphabet) if poems <= ALPHABETS.len() && lines <= alphabet.len() => {
            alphabet[line..=line].repeat(LETTERS_PER_LINE)
        }
        _ => numbered(line, lines, poem, poems),
    };
    (0..lines).map(|line| text(line) + "\n").collect()
}

/// All lines have the same length, and so have all poems.
fn numbered(line: usize, lines: usize, poem: usize, poems: usize) -> String {
    let letter = line % LETTERS.len();
    let letters = LETTERS[letter..=letter].repeat(LETTERS_PER_LINE);
    // With more lines than letters, the letters repeat and a number tells the line.
    let line = if lines > LETTERS.len() { padded(line + 1, lines) } else { String::new() };
    format!("{letters}{line}.{}", padded(poem + 1, poems))
}

fn padded(number: usize, most: usize) -> String {
    format!("{number:0width$}", width = most.to_string().len())
}
