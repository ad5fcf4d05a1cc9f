//! Listings for people and for programs.

use std::io::{self, Write};

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
/// A listing may have a hundred thousand rows, so cells lie one after the other in one text, each with an end of a line
/// behind it, which none of them holds.
#[derive(Clone, Debug)]
pub struct Table {
    text: String,
    /// How wide each column is.
    widths: Vec<usize>,
    rows: usize,
}

impl Table {
    /// A table without rows.
    pub fn new<T: AsRef<str>>(header: impl IntoIterator<Item = T>) -> Self {
        let header: Vec<T> = header.into_iter().collect();
        let mut table = Self { text: String::new(), widths: vec![0; header.len().max(1)], rows: 0 };
        table.row(header);
        table
    }

    /// Adds a row. Values come in the order of the header; missing ones are empty.
    pub fn row<T: AsRef<str>>(&mut self, values: impl IntoIterator<Item = T>) {
        let mut values = values.into_iter();
        for width in &mut self.widths {
            let value = values.next();
            let value = value.as_ref().map(AsRef::as_ref).unwrap_or_default();
            let columns = if is_plain_line(value) {
                self.text.push_str(value);
                value.len()
            } else {
                let plain = plain_line(value);
                self.text.push_str(&plain);
                plain.width()
            };
            self.text.push('\n');
            *width = (*width).max(columns);
        }
        self.rows += 1;
    }

    /// Orders the rows by what `key` makes of their first values. Of those with the same key the first stays.
    pub fn sort_unique_by_key<K: Ord>(&mut self, key: impl Fn(&str) -> K) {
        let mut rows = self.split();
        let header = rows.next().unwrap_or_default();
        let first = |row: &str| key(row.split('\n').next().unwrap_or_default());
        let mut rows: Vec<(K, &str)> = rows.map(|row| (first(row), row)).collect();
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        rows.dedup_by(|(one, _), (other, _)| one == other);
        let count = 1 + rows.len();
        let text = [header].into_iter().chain(rows.into_iter().map(|(_, row)| row)).collect();
        (self.text, self.rows) = (text, count);
    }

    /// The header and the rows, each with all its cells.
    fn split(&self) -> impl Iterator<Item = &str> {
        let mut rest = self.text.as_str();
        (0..self.rows).map(move |_| {
            let ends = memchr::memchr_iter(b'\n', rest.as_bytes());
            let end = ends.take(self.widths.len()).last().map_or(rest.len(), |end| end + 1);
            let (row, others) = rest.split_at_checked(end).unwrap_or_default();
            rest = others;
            row
        })
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows <= 1
    }

    /// The lines of the table, the header first, without trailing blanks.
    pub fn text(&self) -> String {
        let mut bytes = Vec::new();
        // Writing to memory cannot fail.
        let _ = self.write_to(&mut bytes);
        String::from_utf8(bytes).unwrap_or_default()
    }

    /// Writes these lines, many at once.
    pub fn write_to(&self, sink: &mut dyn Write) -> io::Result<()> {
        let mut lines = String::with_capacity(AT_ONCE_BYTES * 2);
        let (mut start, text) = (0, self.text.as_str());
        let mut cells = memchr::memchr_iter(b'\n', text.as_bytes())
            .map(|end| text.get(std::mem::replace(&mut start, end + 1)..end).unwrap_or_default());
        for _ in 0..self.rows {
            let mut blanks = 0;
            for (width, cell) in self.widths.iter().zip(cells.by_ref()) {
                if !cell.is_empty() {
                    push_blanks(&mut lines, std::mem::take(&mut blanks));
                    lines.push_str(cell);
                }
                let columns = if cell.is_ascii() { cell.len() } else { cell.width() };
                blanks += width + GAP - columns;
            }
            lines.truncate(lines.trim_end_matches(' ').len());
            lines.push('\n');
            if lines.len() > AT_ONCE_BYTES {
                sink.write_all(lines.as_bytes())?;
                lines.clear();
            }
        }
        sink.write_all(lines.as_bytes())
    }
}

fn push_blanks(text: &mut String, mut number: usize) {
    while number > 0 {
        let some = number.min(BLANKS.len());
        text.push_str(BLANKS.get(..some).unwrap_or_default());
        number -= some;
    }
}

const BLANKS: &str = "                                                                ";
const AT_ONCE_BYTES: usize = 64 * 1024;
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
    fn rows_are_ordered_by_a_key_and_each_key_has_one() {
        let mut table = Table::new(["N", "WHAT"]);
        for row in [["10", "ten"], ["9", "nine"], ["10", "again"], ["1", ""]] {
            table.row(row);
        }
        table.sort_unique_by_key(|value| value.parse::<u8>().unwrap());
        assert_eq!(table.text().lines().collect::<Vec<_>>(), ["N   WHAT", "1", "9   nine", "10  ten"]);
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
