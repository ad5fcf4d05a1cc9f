//! Listings for people and for programs.

use std::fmt::{Display, Write as _};

use unicode_width::UnicodeWidthStr as _;

use crate::plain::{is_plain_line, plain_line};

/// How a listing is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// A table for people.
    #[default]
    Text,
    /// JSON for programs.
    Json,
}

/// A table for people: a header and rows, columns aligned left with two spaces between them, no borders. Values are
/// shown as one line each and cannot steer the terminal.
///
/// A listing may have a hundred thousand rows, so cells lie one after the other in one text.
#[derive(Clone, Debug)]
pub struct Table {
    text: String,
    cells: Vec<Cell>,
    /// How wide each column is.
    widths: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    /// Where its text ends.
    end: usize,
    /// How many columns of a terminal it takes.
    columns: usize,
}

impl Table {
    /// A table without rows.
    pub fn new<T: Display>(header: impl IntoIterator<Item = T>) -> Self {
        let header: Vec<T> = header.into_iter().collect();
        let mut table = Self { text: String::new(), cells: Vec::new(), widths: vec![0; header.len().max(1)] };
        table.row(header);
        table
    }

    /// Adds a row. Values come in the order of the header; missing ones are empty.
    pub fn row<T: Display>(&mut self, values: impl IntoIterator<Item = T>) {
        let mut values = values.into_iter();
        for width in &mut self.widths {
            let start = self.text.len();
            if let Some(value) = values.next() {
                // Writing to a String cannot fail.
                let _ = write!(self.text, "{value}");
            }
            let value = self.text.get(start..).unwrap_or_default();
            let mut columns = value.len();
            if !is_plain_line(value) {
                let plain = plain_line(value);
                self.text.truncate(start);
                self.text.push_str(&plain);
                columns = plain.width();
            }
            *width = (*width).max(columns);
            self.cells.push(Cell { end: self.text.len(), columns });
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.cells.len() <= self.widths.len()
    }

    /// The lines of the table, the header first, without trailing blanks.
    pub fn text(&self) -> String {
        let line: usize = self.widths.iter().map(|width| width + GAP).sum();
        let mut text = String::with_capacity(line * self.cells.len() / self.widths.len());
        let mut start = 0;
        for row in self.cells.chunks(self.widths.len()) {
            let mut blanks = 0;
            for (cell, width) in row.iter().zip(&self.widths) {
                let value = self.text.get(start..cell.end).unwrap_or_default();
                start = cell.end;
                if !value.is_empty() {
                    text.extend(std::iter::repeat_n(' ', std::mem::take(&mut blanks)));
                    text.push_str(value);
                }
                blanks += width + GAP - cell.columns;
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        text
    }
}

/// The blanks between two columns.
const GAP: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_blanks() {
        let mut table = Table::new(["IMAGE", "SERIAL", "NOTE"]);
        table.row(["debian/trixie/amd64/default", "20261123_0522", ""]);
        table.row(["日本", "x", "y"]);
        assert_eq!(
            table.text().lines().collect::<Vec<_>>(),
            [
                "IMAGE                        SERIAL         NOTE",
                "debian/trixie/amd64/default  20261123_0522",
                "日本                         x              y",
            ]
        );
    }

    #[test]
    fn a_value_with_newlines_stays_on_its_line() {
        let mut table = Table::new(["A"]);
        table.row(["one\ntwo\x1b[1m"]);
        assert_eq!(table.text().lines().collect::<Vec<_>>(), ["A", "one\\ntwo\\u{1b}[1m"]);
    }

    #[test]
    fn a_long_value_is_never_wrapped_or_cut() {
        let mut table = Table::new(["A", "B"]);
        table.row(["x".repeat(500), "y z ".repeat(100)]);
        assert_eq!(table.text().lines().count(), 2);
    }

    #[test]
    fn a_table_without_rows_is_its_header() {
        let table = Table::new(["A", "B"]);
        assert!(table.is_empty());
        assert_eq!(table.text(), "A  B\n");
    }
}
