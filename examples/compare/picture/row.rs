//! One poem in the picture: its bytes, a shade while bytes wait to be read, a line while it is connected.

use super::Glyphs;
use crate::program::canvas::{Ink, Line};
use crate::program::format::{cut, visible};
use crate::program::timeline::{Axis, Chunk, Micros, Schedule, Track};

pub struct Row<'a> {
    pub line: Line,
    pub axis: &'a Axis,
    pub gutter: usize,
    pub glyphs: &'a Glyphs,
    pub poem: usize,
    pub track: &'a Track,
    pub schedule: &'a Schedule,
    /// In a picture of the present, nothing is known beyond this.
    pub now: Option<Micros>,
}

impl Row<'_> {
    pub fn draw(mut self) -> Line {
        let Some(connected) = self.track.connected else { return self.line };
        let chunks = self.track.chunks(self.schedule);
        let free = self.bytes(&chunks);
        self.waits(&chunks);
        let known_to = self.track.ended.or(self.now).unwrap_or(connected);
        let (from, to) = (self.column(connected), self.column(known_to));
        self.line.fill_free(from, to, self.glyphs.connected, Ink::Faint);
        let end = free.max(to);
        if self.track.ended.is_some() {
            self.line.put(end, &self.glyphs.closed.to_string(), Ink::Faint);
        }
        self.annotate(end + 2, &chunks);
        self.line
    }

    /// Each byte begins in the column of its moment, after the others that came then, and makes way for the next
    /// moment. Returns the column after the last.
    fn bytes(&mut self, chunks: &[Chunk]) -> usize {
        let mut free = 0;
        let axis = self.axis;
        let same = |one: &Chunk, next: &Chunk| axis.column(one.at) == axis.column(next.at);
        let mut moments = chunks.chunk_by(same).peekable();
        while let Some(chunks) = moments.next() {
            let (first, last) = (&chunks[0], &chunks[chunks.len() - 1]);
            let text = visible(&self.track.text[first.bytes.start..last.bytes.end]);
            let column = self.column(first.at);
            let lump = chunks.iter().any(Chunk::is_lump);
            // A lump is read just before the end, and pushes it aside.
            let end = self.track.ended.filter(|_| !lump);
            let next = moments.peek().map(|next| next[0].at).or(end);
            let room = next.map(|at| self.column(at) - column).filter(|&room| room > 0);
            let text = cut(text, room);
            self.line.put(column, &text, if lump { Ink::Lump(self.poem) } else { Ink::Poem(self.poem) });
            free = column + text.chars().count();
        }
        free
    }

    /// Where bytes had been sent and nobody read them.
    fn waits(&mut self, chunks: &[Chunk]) {
        let still = self.now.and_then(|now| Some((self.track.unread_since(self.schedule)?, now)));
        let waits = chunks.iter().map(|chunk| (chunk.sent, chunk.at)).chain(still);
        for (sent, read) in waits.filter(|(sent, read)| read.saturating_sub(*sent) > self.axis.resolution()) {
            let (from, to) = (self.column(sent), self.column(read));
            self.line.fill_free(from, to, self.glyphs.waiting, Ink::Faint);
        }
    }

    fn annotate(&mut self, column: usize, chunks: &[Chunk]) {
        if let Some(failure) = &self.track.failure {
            self.line.put(column, failure, Ink::Bad);
            return;
        }
        let most_of_it = |chunk: &&Chunk| chunk.is_lump() && chunk.bytes.len() * 2 > self.track.text.len();
        if let Some(lump) = chunks.iter().find(most_of_it) {
            let note = format!("{} {} bytes at once", self.glyphs.arrow, lump.bytes.len());
            self.line.put_if_free(column, &note, Ink::Plain);
        }
    }

    fn column(&self, at: Micros) -> usize {
        self.gutter + self.axis.column(at)
    }
}
