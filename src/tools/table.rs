//! Aligned columns, written row by row in flat memory.
//!
//! Widths are taken from each batch of rows and never shrink from one batch to the next, so a
//! million rows come out aligned enough without being held.

use std::io::{self, Write};

use super::screen::{self, Screen};

const GAP: &str = "  ";

/// A table under way.
#[derive(Debug)]
pub struct Table {
    screen: Screen,
    headings: Vec<&'static str>,
    widths: Vec<usize>,
    written: bool,
}

impl Table {
    /// One with these headings.
    pub fn new(headings: &[&'static str], screen: Screen) -> Table {
        let widths = headings.iter().map(|heading| heading.len()).collect();
        Table { screen, headings: headings.to_vec(), widths, written: false }
    }

    /// Writes a batch of rows, below the headings where it is the first.
    pub fn write(&mut self, out: &mut dyn Write, rows: &[Vec<String>]) -> io::Result<()> {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(screen::columns_of(cell));
            }
        }
        if !self.written {
            self.written = true;
            let headings: Vec<String> = self.headings.iter().map(|heading| (*heading).to_owned()).collect();
            let line = self.line(&headings);
            writeln!(out, "{}", self.screen.dim(&line))?;
        }
        rows.iter().try_for_each(|row| writeln!(out, "{}", self.line(row)))
    }

    fn line(&self, cells: &[String]) -> String {
        let mut line = String::new();
        for (width, cell) in self.widths.iter().zip(cells) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(screen::columns_of(cell))));
            line.push_str(GAP);
        }
        let line = line.trim_end().to_owned();
        match self.screen.columns() {
            Some(columns) if screen::columns_of(&line) > columns => {
                let end = screen::beyond(&line, columns.saturating_sub(1)).unwrap_or(line.len());
                format!("{}…", &line[..end])
            }
            _ => line,
        }
    }
}

/// Writes names and what they are, the second column aligned; an empty name goes on with the one above.
pub fn write_pairs(out: &mut dyn Write, pairs: &[(&str, String)], screen: Screen) -> io::Result<()> {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in pairs {
        let line = format!("{name:width$}{GAP}{value}");
        for line in screen::wrapped(line.trim_end(), screen.columns(), width + GAP.len()) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut out = Vec::new();
        let mut table = Table::new(&["id", "status", "owner"], Screen::unbounded());
        table.write(&mut out, &[row(&["c-7f3a", "open", "faq-bot"]), row(&["č", "ending", ""])]).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "id      status  owner\nc-7f3a  open    faq-bot\nč       ending\n");
    }

    #[test]
    fn a_later_batch_is_never_narrower_and_has_no_headings() {
        let mut out = Vec::new();
        let mut table = Table::new(&["id", "status"], Screen::unbounded());
        table.write(&mut out, &[row(&["long-one", "open"])]).unwrap();
        table.write(&mut out, &[row(&["x", "open"])]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "id        status\nlong-one  open\nx         open\n");
    }

    #[test]
    fn a_row_fits_the_screen() {
        let mut out = Vec::new();
        let mut table = Table::new(&["id"], Screen::of_columns(40, false));
        table.write(&mut out, &[row(&[&"x".repeat(60)])]).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().last().unwrap().chars().count(), 40);
    }

    #[test]
    fn pairs_are_aligned() {
        let mut out = Vec::new();
        let pairs = [("status", "open".to_owned()), ("", "more".to_owned()), ("id", "c".to_owned())];
        write_pairs(&mut out, &pairs, Screen::unbounded()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "status  open\n        more\nid      c\n");
    }
}
