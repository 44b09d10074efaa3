//! A line of the terminal, as cells with ink.

use std::fmt::Write;

#[derive(Clone, Copy, PartialEq)]
pub enum Ink {
    Plain,
    Faint,
    Strong,
    Poem(usize),
    /// Bytes of a poem that had been waiting to be read.
    Lump(usize),
    Bad,
}

pub struct Line {
    cells: Vec<(char, Ink)>,
}

/// The colours that a terminal chooses to suit its background: cyan, magenta, green, blue.
const POEM_COLOURS: [u8; 4] = [36, 35, 32, 34];

impl Ink {
    fn code(self) -> String {
        match self {
            Self::Plain => String::new(),
            Self::Faint => "2".to_string(),
            Self::Strong => "1".to_string(),
            Self::Poem(poem) => POEM_COLOURS[poem % POEM_COLOURS.len()].to_string(),
            Self::Lump(poem) => format!("1;{}", POEM_COLOURS[poem % POEM_COLOURS.len()]),
            Self::Bad => "31".to_string(),
        }
    }
}

impl Line {
    pub fn new(width: usize) -> Self {
        Self { cells: vec![(' ', Ink::Plain); width] }
    }

    /// What goes beyond the width is cut off.
    pub fn put(&mut self, column: usize, text: &str, ink: Ink) {
        for (cell, letter) in self.cells.iter_mut().skip(column).zip(text.chars()) {
            *cell = (letter, ink);
        }
    }

    pub fn put_right(&mut self, text: &str, ink: Ink) {
        self.put(self.cells.len().saturating_sub(text.chars().count()), text, ink);
    }

    /// From one column up to another, where nothing is yet.
    pub fn fill_free(&mut self, from: usize, to: usize, letter: char, ink: Ink) {
        let free = self.cells.iter_mut().take(to).skip(from).filter(|cell| cell.0 == ' ');
        free.for_each(|cell| *cell = (letter, ink));
    }

    /// Puts the text only where nothing is yet.
    pub fn put_if_free(&mut self, column: usize, text: &str, ink: Ink) {
        let width = text.chars().count();
        let room = self.cells.iter().skip(column).take(width);
        if room.clone().count() == width && room.clone().all(|cell| cell.0 == ' ') {
            self.put(column, text, ink);
        }
    }

    pub fn render(&self, colour: bool) -> String {
        let used = self.cells.iter().rposition(|cell| cell.0 != ' ').map_or(0, |last| last + 1);
        let mut text = String::new();
        let mut current = Ink::Plain;
        for &(letter, ink) in &self.cells[..used] {
            if colour && ink != current {
                text.push_str(&change(current, ink));
                current = ink;
            }
            text.push(letter);
        }
        text + &change(current, Ink::Plain)
    }
}

fn change(from: Ink, to: Ink) -> String {
    let mut codes = String::new();
    if from == to {
        return codes;
    }
    if from != Ink::Plain {
        codes.push_str("\x1b[0m");
    }
    if to != Ink::Plain {
        // Writing to a string cannot fail.
        let _ = write!(codes, "\x1b[{}m", to.code());
    }
    codes
}
