//! Standard output: a terminal that is drawn on again and again, or a file or pipe that is written once.

use super::output;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::env;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::ops::RangeInclusive;
use std::os::fd::AsFd;

pub struct Screen {
    terminal: bool,
    /// Lines above the cursor that the next drawing replaces.
    drawn: usize,
    cursor_hidden: bool,
    ascii: bool,
}

/// How the picture can be drawn.
#[derive(Clone, Copy)]
pub struct Look {
    pub width: usize,
    pub colour: bool,
    pub ascii: bool,
}

const DEFAULT_WIDTH: usize = 80;
/// A narrower picture shows nothing; in a wider one, the eye loses the row.
const WIDTHS: RangeInclusive<usize> = 40..=160;

/// Also turns off the wrapping of long lines: in a window that becomes narrower, they are cut off. A wrapped line would
/// be one line more than `drawn` counts.
const HIDE_CURSOR: &str = "\x1b[?25l\x1b[?7l";
const SHOW_CURSOR: &str = "\x1b[?7h\x1b[?25h";

impl Screen {
    pub fn new(ascii: bool) -> Self {
        let dumb = env::var("TERM").is_ok_and(|terminal| terminal == "dumb");
        Self { terminal: io::stdout().is_terminal() && !dumb, drawn: 0, cursor_hidden: false, ascii }
    }

    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    pub fn look(&self) -> Look {
        let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Look { width: width(), colour: self.terminal && !no_colour, ascii: self.ascii }
    }

    /// Replaces the lines drawn before.
    pub fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut text = String::new();
        if !self.cursor_hidden {
            text.push_str(HIDE_CURSOR);
            self.cursor_hidden = true;
        }
        text.push_str(&self.over_the_last(lines));
        self.drawn = lines.len();
        output::print(&text)
    }

    /// Replaces the lines drawn before with lines that stay.
    pub fn print(&mut self, lines: &[String]) -> io::Result<()> {
        let text = self.over_the_last(lines);
        self.drawn = 0;
        output::print(&text)
    }

    fn over_the_last(&self, lines: &[String]) -> String {
        let mut text = String::new();
        if self.drawn > 0 {
            // Moves up to the first of them, and erases all below. Writing to a string cannot fail.
            let _ = write!(text, "\x1b[{}A\r\x1b[J", self.drawn);
        }
        lines.iter().for_each(|line| text.extend([line.as_str(), "\n"]));
        if self.ascii { text.chars().map(in_ascii).collect() } else { text }
    }

    /// Whether standard output is a pipe whose other end is closed.
    pub fn reader_has_left(&self) -> bool {
        let out = io::stdout();
        let mut out = [PollFd::new(out.as_fd(), PollFlags::empty())];
        let polled = poll(&mut out, PollTimeout::ZERO);
        polled.is_ok() && out[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
    }

    pub fn show_cursor(&mut self) {
        if std::mem::take(&mut self.cursor_hidden) {
            // If the terminal is gone, there is nothing to restore.
            let _ = output::print(SHOW_CURSOR);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.show_cursor();
    }
}

/// The most similar ASCII character, for the letters that occur in the text.
fn in_ascii(letter: char) -> char {
    match letter {
        '×' => 'x',
        '−' => '-',
        '·' => '.',
        letter if letter.is_ascii() => letter,
        _ => '?',
    }
}

fn width() -> usize {
    let of_terminal = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
    let of_variable = || env::var("COLUMNS").ok()?.parse().ok();
    let width = of_terminal.filter(|&width| width > 0).or_else(of_variable).unwrap_or(DEFAULT_WIDTH);
    width.clamp(*WIDTHS.start(), *WIDTHS.end())
}

/// A line of cells, each with a letter and its ink.
pub struct Line {
    cells: Vec<(char, Ink)>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Ink {
    Plain,
    Faint,
    Strong,
    Poem(usize),
    /// Bytes of a poem that waited in the kernel.
    Lump(usize),
    Bad,
}

/// Cyan, magenta, green, blue. The terminal chooses shades that suit its background.
const POEM_COLOURS: [u8; 4] = [36, 35, 32, 34];

impl Ink {
    /// The parameters of the escape sequence that sets it.
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

    /// Text beyond the width is cut off.
    pub fn put(&mut self, column: usize, text: &str, ink: Ink) {
        for (cell, letter) in self.cells.iter_mut().skip(column).zip(text.chars()) {
            *cell = (letter, ink);
        }
    }

    pub fn put_right(&mut self, text: &str, ink: Ink) {
        self.put(self.cells.len().saturating_sub(text.chars().count()), text, ink);
    }

    /// Puts the text only if all its cells exist and are free.
    pub fn put_if_free(&mut self, column: usize, text: &str, ink: Ink) {
        let room = self.cells.get(column..column + text.chars().count());
        if room.is_some_and(|room| room.iter().all(|cell| cell.0 == ' ')) {
            self.put(column, text, ink);
        }
    }

    /// Fills the free cells from one column up to another.
    pub fn fill_free(&mut self, from: usize, to: usize, letter: char, ink: Ink) {
        let free = self.cells.iter_mut().take(to).skip(from).filter(|cell| cell.0 == ' ');
        free.for_each(|cell| *cell = (letter, ink));
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
    if from == to {
        return String::new();
    }
    let reset = if from == Ink::Plain { "" } else { "\x1b[0m" };
    let set = if to == Ink::Plain { String::new() } else { format!("\x1b[{}m", to.code()) };
    reset.to_string() + &set
}
