//! Tables that fit the terminal: columns as wide as what they hold, and one that wraps when the room does not do.
//!
//! A layout of our own, because cells carry styles whose bytes must not count as columns.

use anstyle::Style;

use super::screen::{DIM, columns_of, paint, printable, wrap};

/// Columns between two cells.
const GAP: usize = 2;
/// Columns that a wrapped cell has at least.
const NARROWEST: usize = 16;

struct Column {
    title: &'static str,
    right: bool,
    wraps: bool,
    style: Style,
}

/// Rows under titles.
pub(super) struct Table {
    indent: usize,
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(indent: usize) -> Self {
        Self { indent, columns: Vec::new(), rows: Vec::new() }
    }

    /// Adds a column of words.
    pub(super) fn words(self, title: &'static str, style: Style) -> Self {
        self.with(Column { title, right: false, wraps: false, style })
    }

    /// Adds a column of numbers.
    pub(super) fn numbers(self, title: &'static str) -> Self {
        self.with(Column { title, right: true, wraps: false, style: Style::new() })
    }

    /// Adds a column that wraps when the room does not do.
    pub(super) fn text(self, title: &'static str) -> Self {
        self.with(Column { title, right: false, wraps: true, style: Style::new() })
    }

    fn with(mut self, column: Column) -> Self {
        self.columns.push(column);
        self
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    /// Returns the lines for so many columns of a terminal.
    pub(super) fn lines(&self, columns: usize) -> Vec<String> {
        let widths = self.widths(columns);
        let mut lines = Vec::new();
        if self.columns.iter().any(|column| !column.title.is_empty()) {
            let titles: Vec<String> = self.columns.iter().map(|column| column.title.to_owned()).collect();
            lines.extend(self.row_lines(&titles, &widths, Some(DIM)));
        }
        lines.extend(self.rows.iter().flat_map(|row| self.row_lines(row, &widths, None)));
        lines
    }

    fn widths(&self, columns: usize) -> Vec<usize> {
        let natural: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| {
                let cells = self.rows.iter().filter_map(|row| row.get(at)).flat_map(|cell| cell.lines());
                cells.map(columns_of).chain([columns_of(column.title)]).max().unwrap_or(0)
            })
            .collect();
        let fixed: usize =
            self.columns.iter().zip(&natural).filter(|(column, _)| !column.wraps).map(|(_, width)| width).sum();
        let gaps = GAP * self.columns.len().saturating_sub(1);
        let wrapping = self.columns.iter().filter(|column| column.wraps).count().max(1);
        let room = columns.saturating_sub(self.indent + fixed + gaps) / wrapping;
        let fit = |(column, width): (&Column, usize)| if column.wraps { width.min(room.max(NARROWEST)) } else { width };
        self.columns.iter().zip(natural).map(fit).collect()
    }

    fn row_lines(&self, row: &[String], widths: &[usize], style: Option<Style>) -> Vec<String> {
        let cells: Vec<Vec<String>> = row.iter().zip(widths).map(|(cell, width)| wrap(cell, *width)).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        let empty = String::new();
        (0..height)
            .map(|at| {
                let mut line = " ".repeat(self.indent);
                let mut owed = 0;
                for ((column, width), cell) in self.columns.iter().zip(widths).zip(&cells) {
                    let text = cell.get(at).unwrap_or(&empty);
                    let free = width.saturating_sub(columns_of(text));
                    let (before, after) = if column.right { (free, 0) } else { (0, free) };
                    if !text.is_empty() {
                        // Blanks are written only before something, so that no line ends in them.
                        line.push_str(&" ".repeat(owed + before));
                        line.push_str(&paint(style.unwrap_or(column.style), text));
                        owed = after + GAP;
                    } else {
                        owed += width + GAP;
                    }
                }
                line
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_the_text_wraps() {
        let plain = Style::new();
        let mut table = Table::new(1).words("id", plain).numbers("n").text("what");
        table.row(["a".into(), "7".into(), "short".into()]);
        table.row(["bcd".into(), "1000".into(), "a text that is longer than its room".into()]);
        let lines: Vec<String> =
            table.lines(30).iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect();
        assert_eq!(
            lines,
            [
                " id      n  what",
                " a       7  short",
                " bcd  1000  a text that is",
                "            longer than its",
                "            room",
            ]
        );
    }
}
