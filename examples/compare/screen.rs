//! Standard output: a terminal that is drawn on again and again, or a file that is written once.

use super::picture::Look;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::env;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::os::fd::AsFd;

pub struct Screen {
    terminal: bool,
    /// Lines above the cursor that the next drawing replaces.
    drawn: usize,
    cursor_hidden: bool,
    ascii: bool,
}

const DEFAULT_WIDTH: usize = 80;
/// In less, nothing can be seen; in more, the eye loses the row.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=160;

/// Lines are cut off rather than continued below, so that a window made narrower meanwhile does not spoil the picture.
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

    /// Draws in place of what was drawn before.
    pub fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut text = String::new();
        if !self.cursor_hidden {
            text.push_str(HIDE_CURSOR);
            self.cursor_hidden = true;
        }
        text.push_str(&self.over_the_last(lines));
        self.drawn = lines.len();
        write(&text)
    }

    /// Prints in place of what was drawn before, for good.
    pub fn print(&mut self, lines: &[String]) -> io::Result<()> {
        let text = self.over_the_last(lines);
        self.drawn = 0;
        write(&text)
    }

    fn over_the_last(&self, lines: &[String]) -> String {
        let mut text = String::new();
        if self.drawn > 0 {
            // Up to the first of them, and erase from there on. Writing to a string cannot fail.
            let _ = write!(text, "\x1b[{}A\r\x1b[J", self.drawn);
        }
        lines.iter().for_each(|line| text.extend([line.as_str(), "\n"]));
        if self.ascii { text.chars().map(in_ascii).collect() } else { text }
    }

    /// Whether the other end of a pipe is closed, so that nobody will see what is still to come.
    pub fn reader_has_left(&self) -> bool {
        let out = io::stdout();
        let mut out = [PollFd::new(out.as_fd(), PollFlags::empty())];
        let polled = poll(&mut out, PollTimeout::ZERO);
        polled.is_ok() && out[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
    }

    pub fn show_cursor(&mut self) {
        if std::mem::take(&mut self.cursor_hidden) {
            // There is nothing to restore on a terminal that is gone.
            let _ = write(SHOW_CURSOR);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.show_cursor();
    }
}

/// The nearest character of ASCII, for those that occur in text.
fn in_ascii(letter: char) -> char {
    match letter {
        '×' => 'x',
        '−' => '-',
        '·' => '.',
        letter if letter.is_ascii() => letter,
        _ => '?',
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn width() -> usize {
    let of_terminal = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
    let of_variable = || env::var("COLUMNS").ok()?.parse().ok();
    let width = of_terminal.filter(|&width| width > 0).or_else(of_variable).unwrap_or(DEFAULT_WIDTH);
    width.clamp(*WIDTHS.start(), *WIDTHS.end())
}
