//! Listings for people and for programs.

use unicode_width::UnicodeWidthStr as _;

use crate::plain::plain_line;

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
#[derive(Clone, Debug)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new<T: ToString>(header: impl IntoIterator<Item = T>) -> Self {
        Self { header: cells(header), rows: Vec::new() }
    }

    /// Adds a row. Values come in the order of the header.
    pub fn row<T: ToString>(&mut self, values: impl IntoIterator<Item = T>) {
        self.rows.push(cells(values));
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines of the table, the header first, without trailing blanks.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let rows = || std::iter::once(&self.header).chain(&self.rows);
        let mut widths = vec![0; self.header.len()];
        for row in rows() {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(columns(cell));
            }
        }
        rows().map(move |row| {
            let mut line = String::with_capacity(widths.iter().map(|width| width + GAP).sum());
            for (width, cell) in widths.iter().zip(row) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width + GAP - columns(cell)));
            }
            line.truncate(line.trim_end().len());
            line
        })
    }
}

fn cells<T: ToString>(values: impl IntoIterator<Item = T>) -> Vec<String> {
    values.into_iter().map(|value| plain_line(&value.to_string())).collect()
}

/// How many columns of a terminal a text takes.
fn columns(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
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
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(
            lines,
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
        assert_eq!(table.lines().collect::<Vec<_>>(), ["A", "one\\ntwo\\u{1b}[1m"]);
    }

    #[test]
    fn a_long_value_is_never_wrapped_or_cut() {
        let mut table = Table::new(["A", "B"]);
        table.row(["x".repeat(500), "y z ".repeat(100)]);
        assert_eq!(table.lines().count(), 2);
    }

    #[test]
    fn a_table_without_rows_is_its_header() {
        let table = Table::new(["A", "B"]);
        assert!(table.is_empty());
        assert_eq!(table.lines().collect::<Vec<_>>(), ["A  B"]);
    }
}
