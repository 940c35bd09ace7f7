//! What people see: steps, commands, and results in columns. Plain text where the output is no terminal.

use std::{
    fmt::Display,
    io::{IsTerminal, Write, stdout},
};

use crate::client::Part;

/// Columns, where nobody says.
const WIDTH: usize = 100;
const WIDTH_MIN: usize = 40;
const WIDTH_MAX: usize = 160;
/// Before everything below a step's title.
const INDENT: &str = "   ";
/// Between two results of a line.
const GAP: usize = 3;
/// Foregrounds that can be read on dark and on light, for keys.
const KEY_COLOURS: [u8; 6] = [36, 33, 35, 32, 34, 31];

/// The standard output.
pub struct Screen {
    width: usize,
    colours: bool,
}

impl Screen {
    pub fn of_stdout() -> Self {
        let out = stdout();
        let terminal = out.is_terminal();
        let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
        let size = || rustix::termios::tcgetwinsize(&out).ok().map(|size| usize::from(size.ws_col));
        let width = if terminal { size().filter(|width| *width > 0) } else { None }.or_else(columns).unwrap_or(WIDTH);
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { width: width.clamp(WIDTH_MIN, WIDTH_MAX), colours }
    }

    /// Nobody may look any more (`| head`): so be it.
    pub fn line(&self, text: impl Display) {
        let _ = writeln!(stdout(), "{text}");
    }

    pub fn title(&self, text: &str) {
        self.line("");
        for line in wrap(text.split(' '), self.width) {
            self.line(self.paint(&line, 1));
        }
    }

    /// A paragraph, indented and broken at spaces.
    pub fn text(&self, text: &str) {
        for line in wrap(text.split(' '), self.width - INDENT.len()) {
            self.line(format_args!("{INDENT}{line}"));
        }
    }

    /// A command that can be pasted, broken between its parts.
    pub fn command(&self, parts: &[Part]) {
        for line in command_lines(parts, self.width - INDENT.len()) {
            self.line(format_args!("{INDENT}{}", self.paint(&line, 2)));
        }
    }

    /// `name  value` in two columns.
    pub fn pair(&self, name: &str, value: impl Display) {
        self.line(format_args!("{INDENT}{name:<10}{value}"));
    }

    /// How many results of this width stand in a line.
    pub fn columns(&self, cell: usize) -> usize {
        ((self.width - INDENT.len() + GAP) / (cell + GAP)).max(1)
    }

    /// A line of results; `key` colours those of one key alike.
    pub fn cells(&self, cells: &[Cell]) {
        let painted: Vec<String> =
            cells.iter().map(|cell| self.paint(&cell.text, KEY_COLOURS[cell.key % KEY_COLOURS.len()])).collect();
        self.line(format_args!("{INDENT}{}", painted.join(&" ".repeat(GAP))));
    }

    fn paint(&self, text: &str, code: u8) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    pub text: String,
    pub key: usize,
}

/// A command's lines, with a backslash where a shell would take the end of the line for its end.
fn command_lines(parts: &[Part], width: usize) -> Vec<String> {
    let (start, indent, end) = ("$ ", "    ", " \\");
    let mut lines = Vec::new();
    let mut line = start.to_owned();
    for (number, part) in parts.iter().enumerate() {
        if number > 0 && line.chars().count() + 1 + part.text.chars().count() + end.len() > width {
            if !part.quoted {
                line.push_str(end);
            }
            lines.push(std::mem::replace(&mut line, indent.to_owned()));
        } else if number > 0 {
            line.push(' ');
        }
        line.push_str(&part.text);
    }
    lines.push(line);
    lines
}

/// Joins words to lines that are not longer than `width`, where a word is not longer by itself.
fn wrap<'a>(words: impl Iterator<Item = &'a str>, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("aa bb cccccc d".split(' '), 5), ["aa bb", "cccccc", "d"]);
    }

    #[test]
    fn commands_break_so_that_a_shell_joins_them() {
        let part = |text: &str, quoted| Part { text: text.to_owned(), quoted };
        let parts = [part("curl h:1", false), part("-d 'a,", false), part("b'", true)];
        assert_eq!(command_lines(&parts, 80), ["$ curl h:1 -d 'a, b'"]);
        assert_eq!(command_lines(&parts, 12), ["$ curl h:1 \\", "    -d 'a,", "    b'"]);
    }

    #[test]
    fn columns_fit() {
        let screen = |width| Screen { width, colours: false };
        // 3 + 4 * 16 + 3 * 3 = 76
        assert_eq!([screen(76).columns(16), screen(75).columns(16), screen(WIDTH_MIN).columns(500)], [4, 3, 1]);
    }
}
