//! One poem in the SVG: a line while it is connected, a band while bytes wait to be read, the bytes themselves.

use super::pen::Pen;
use super::{LETTER, ROW, x};
use crate::program::format;
use crate::program::format::{cut, visible};
use crate::program::timeline::{Axis, Chunk, Micros, Schedule, Track};

const COLOURS: [&str; 4] = ["a", "b", "c", "d"];
/// Around the text and the band.
const PADDING: f64 = 3.0;
const HEIGHT: f64 = ROW - 2.0 * PADDING;
pub const BASELINE: f64 = ROW * 0.7;

pub struct Row<'a> {
    pub pen: &'a mut Pen,
    pub axis: &'a Axis,
    pub poem: usize,
    pub track: &'a Track,
    pub schedule: &'a Schedule,
    pub y: f64,
}

impl Row<'_> {
    pub fn draw(&mut self) {
        let Some(connected) = self.track.connected else { return };
        let ended = self.track.ended.unwrap_or(connected);
        let middle = self.y + ROW / 2.0;
        self.pen.path("line", &format!("M{:.1} {middle:.1}H{:.1}", self.x(connected), self.x(ended)));
        self.chunks();
        self.pen.path("end", &format!("M{:.1} {:.1}v{HEIGHT}", self.x(ended), self.y + PADDING));
    }

    /// What was read within the width of a letter is one text. The bands are below all of them: bytes that follow on
    /// others may have been sent before those were read.
    fn chunks(&mut self) {
        let chunks = self.track.chunks(self.schedule);
        chunks.iter().for_each(|chunk| self.band(chunk));
        let mut rest = chunks.as_slice();
        while let Some(first) = rest.first() {
            let from = self.x(first.at);
            let together = rest.iter().take_while(|chunk| self.x(chunk.at) < from + LETTER).count();
            let (chunks, later) = rest.split_at(together);
            // A lump is read just before the end, and goes beyond it.
            let end = self.track.ended.filter(|_| !chunks.iter().any(Chunk::is_lump));
            let next = later.first().map(|next| next.at).or(end);
            let room = next.map(|at| self.x(at) - from).filter(|&room| room >= LETTER);
            self.moment(chunks, room);
            rest = later;
        }
    }

    fn moment(&mut self, chunks: &[Chunk], room: Option<f64>) {
        let (first, last) = (&chunks[0], &chunks[chunks.len() - 1]);
        let bytes = first.bytes.start..last.bytes.end;
        let text = cut(visible(&self.track.text[bytes.clone()]), room.map(|room| (room / LETTER) as usize));
        let (from, width) = (self.x(first.at), text.chars().count() as f64 * LETTER);
        self.pen.begin_group("chunk", &self.tooltip(first, last));
        if chunks.iter().any(Chunk::is_lump) {
            self.pen.rect(self.colour(), [from - 1.0, self.y, 2.0, ROW]);
            self.bytes(&format!("lump {}", self.colour()), from + PADDING, &text);
        } else {
            // The line that it interrupts must not strike it through.
            self.pen.rect("paper", [from, self.y + PADDING, width, HEIGHT]);
            self.bytes(self.colour(), from, &text);
        }
        self.pen.end_group();
        if room.is_none() && bytes.len() > self.track.text.len() / 2 {
            let note = format!("{} at once", format::counted(bytes.len(), "byte"));
            self.pen.text("faint", [from + width + 2.0 * LETTER, self.y + BASELINE], &note);
        }
    }

    fn bytes(&mut self, class: &str, from: f64, text: &str) {
        let width = text.chars().count() as f64 * LETTER;
        self.pen.text_of_width(class, [from, self.y + BASELINE], width, text);
    }

    /// From when the bytes had been sent to when they were read; in it the bytes, faint, where they were sent.
    fn band(&mut self, chunk: &Chunk) {
        if chunk.at - chunk.sent <= 2 * self.axis.resolution() {
            return;
        }
        let (from, to) = (self.x(chunk.sent), self.x(chunk.at));
        self.pen.rect("paper", [from, self.y + PADDING, to - from, HEIGHT]);
        self.pen.rect(&format!("wait {}", self.colour()), [from, self.y + PADDING, to - from, HEIGHT]);
        let apart = self.axis.position(self.schedule.delay);
        for piece in chunk.pieces.clone() {
            let bytes = self.schedule.bytes(piece);
            let text = visible(self.track.text.get(bytes).unwrap_or_default());
            if (text.chars().count() + 1) as f64 * LETTER < apart {
                let sent = self.x(self.schedule.sent(self.track, piece));
                self.bytes(&format!("ghost {}", self.colour()), sent, &text);
            }
        }
    }

    /// What is told where the pointer rests.
    fn tooltip(&self, first: &Chunk, last: &Chunk) -> String {
        let (from, to) = (first.bytes.start, last.bytes.end.saturating_sub(1));
        let (read, waited) = (format::seconds(first.at), format::seconds(first.at - first.sent));
        format!(
            "poem {}, bytes {from} to {to}: read at {read}, {waited} after they had been sent",
            self.poem + 1
        )
    }

    fn colour(&self) -> &'static str {
        COLOURS[self.poem % COLOURS.len()]
    }

    fn x(&self, at: Micros) -> f64 {
        x(self.axis, at)
    }
}
