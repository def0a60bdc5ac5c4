//! What the output can show: how wide it is, and whether it has colours.
//!
//! A pipe has neither: a line there is as long as it must be, so that one event stays one line.

use std::io::{self, IsTerminal};

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthChar;

/// Columns where nothing says how many there are.
const COLUMNS_DEFAULT: usize = 80;
/// Columns of what is drawn to scale where the output has no width.
const COLUMNS_UNBOUNDED: usize = 100;
/// Fewest columns that lines are fitted into.
const COLUMNS_MIN: usize = 40;

/// What the output can show.
#[derive(Debug, Clone, Copy, Default)]
pub struct Screen {
    columns: Option<usize>,
    colours: bool,
}

impl Screen {
    /// Looks at what standard output is.
    pub fn of_stdout() -> Screen {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return Screen::default();
        }
        let size = rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col));
        let said = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        let columns = said.or(size).filter(|columns| *columns > 0).unwrap_or(COLUMNS_DEFAULT);
        Screen { columns: Some(columns.max(COLUMNS_MIN)), colours: colours_wanted() }
    }

    /// One without end and without colours, as a pipe is.
    pub fn unbounded() -> Screen {
        Screen::default()
    }

    /// One so wide, for showing how it comes out.
    pub fn of_columns(columns: usize, colours: bool) -> Screen {
        Screen { columns: Some(columns.max(COLUMNS_MIN)), colours }
    }

    /// How many columns a line may take; none where it may take any.
    pub fn columns(self) -> Option<usize> {
        self.columns
    }

    /// How many columns there are for what is drawn to scale.
    pub fn columns_to_scale(self) -> usize {
        self.columns.unwrap_or(COLUMNS_UNBOUNDED)
    }

    /// The text in that style, where there are colours.
    pub fn styled(self, style: Style, text: &str) -> String {
        if self.colours && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// The text stepping back.
    pub fn dim(self, text: &str) -> String {
        self.styled(Style::new().dimmed(), text)
    }

    /// The text standing out.
    pub fn bold(self, text: &str) -> String {
        self.styled(Style::new().bold(), text)
    }
}

/// Whether standard error, too, may be written on in colours.
pub fn stderr_colours() -> bool {
    io::stderr().is_terminal() && colours_wanted()
}

fn colours_wanted() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The colour of the n-th name that comes up.
pub fn colour(n: usize) -> Style {
    const COLOURS: [AnsiColor; 6] = [
        AnsiColor::Cyan,
        AnsiColor::Magenta,
        AnsiColor::Yellow,
        AnsiColor::Blue,
        AnsiColor::Green,
        AnsiColor::BrightRed,
    ];
    Style::new().fg_color(Some(COLOURS[n % COLOURS.len()].into()))
}

/// The line broken at spaces to fit into the columns, what follows the first indented.
pub fn wrapped(line: &str, columns: Option<usize>, indent: usize) -> Vec<String> {
    let Some(columns) = columns else { return vec![line.to_owned()] };
    let mut lines = Vec::new();
    let mut rest = line;
    let mut margin = 0;
    loop {
        let room = columns.saturating_sub(margin).max(COLUMNS_MIN / 2);
        let Some(end) = beyond(rest, room) else {
            lines.push(format!("{:margin$}{rest}", ""));
            return lines;
        };
        let start = if margin == 0 { beyond(rest, indent).map_or(0, |start| start.min(end)) } else { 0 };
        let space = if rest[end..].starts_with(' ') { None } else { rest[start..end].rfind(' ') };
        let cut = space.map_or(end, |space| start + space);
        lines.push(format!("{:margin$}{}", "", rest[..cut].trim_end()));
        rest = rest[cut..].trim_start();
        margin = indent;
    }
}

/// Columns that the text takes: letters of some scripts and most pictures take two.
pub fn columns_of(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// Where the text goes beyond so many columns; none where it fits.
pub fn beyond(text: &str, columns: usize) -> Option<usize> {
    let mut taken = 0;
    text.char_indices().find_map(|(at, c)| {
        taken += c.width().unwrap_or(0);
        (taken > columns).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_broken_at_spaces_and_indented() {
        let line = "12:00  one two three four five six seven eight nine ten";
        assert_eq!(wrapped(line, Some(40), 7), ["12:00  one two three four five six seven", "       eight nine ten"]);
        assert_eq!(wrapped(line, None, 7), [line]);
    }

    #[test]
    fn a_word_without_end_is_cut_all_the_same() {
        let word = "x".repeat(100);
        let lines = wrapped(&word, Some(40), 4);
        assert!(lines.iter().all(|line| line.len() <= 40), "{lines:?}");
        assert_eq!(lines.concat().matches('x').count(), 100);
    }

    #[test]
    fn wide_characters_take_two_columns_and_joined_ones_none() {
        assert_eq!((columns_of("abc"), columns_of("日本"), columns_of("👍"), columns_of("e\u{301}")), (3, 4, 2, 1));
        for text in ["日本語のとても長い文章です".repeat(9), "👍 ok ".repeat(40), "e\u{301}".repeat(90)]
        {
            let lines = wrapped(&text, Some(40), 4);
            assert!(lines.iter().all(|line| columns_of(line) <= 40), "{lines:?}");
            let whole = lines.iter().map(|line| line.trim()).collect::<String>();
            assert_eq!(whole.replace(' ', ""), text.replace(' ', ""));
        }
    }

    #[test]
    fn a_pipe_has_no_colours() {
        assert_eq!(Screen::unbounded().styled(colour(0), "x"), "x");
        assert_eq!(Screen::of_columns(80, true).styled(colour(0), "x"), "\u{1b}[36mx\u{1b}[0m");
    }
}
