//! Formats tables for people. If a table is wider than the terminal, its URLs move below their rows. If that is not enough,
//! each row becomes a block of lines.

use anstyle::Style;

use super::{BOLD, DIM, paint};

/// The indentation of a cell below its row.
const INDENT: &str = "  ";

/// A cell: its text, which may have several lines in a block, and its style.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Creates a cell with a style.
    #[must_use]
    pub fn new(text: impl Into<String>, style: Style) -> Cell {
        Cell { text: text.into(), style }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }

    fn styled_text(&self) -> String {
        if self.style == Style::new() { self.text.clone() } else { paint(self.style, &self.text) }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::new(text, Style::new())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::new(text, Style::new())
    }
}

/// A table with a heading for each column. The first column names the thing that a row is about.
#[derive(Clone, Debug, Default)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<Cell>>,
    /// `true` if the last column may move below its row.
    is_last_movable: bool,
}

impl Table {
    /// Creates a table without rows.
    #[must_use]
    pub fn new(head: &[&str]) -> Table {
        let head = head.iter().map(|&text| text.to_owned()).collect();
        Table { head, rows: Vec::new(), is_last_movable: false }
    }

    /// Lets the last column move below its row if the table is too wide. Its cells must be clear without a heading,
    /// such as URLs.
    #[must_use]
    pub fn with_movable_last_column(self) -> Table {
        Table { is_last_movable: true, ..self }
    }

    /// Adds a row. It may be shorter than the heading.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Returns the table for a terminal with `width` columns. `None` is a file or a pipe: every row is one line.
    #[must_use]
    pub fn text(&self, width: Option<usize>) -> String {
        let widths: Vec<usize> = (0..self.head.len()).map(|column| self.width(column)).collect();
        let fits = |widths: &[usize]| {
            let whole = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
            width.is_none_or(|width| whole <= width)
        };
        let (last, others) = widths.split_last().unwrap_or((&0, &[]));
        if fits(&widths) {
            self.lines(&widths)
        } else if self.is_last_movable && fits(others) && fits(&[INDENT.len() + last]) {
            self.lines(others)
        } else {
            self.blocks()
        }
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(Cell::width);
        cells.chain([self.head[column].chars().count()]).max().unwrap_or(0)
    }

    /// Returns a line for each row, and one more for a last cell that has no column.
    fn lines(&self, widths: &[usize]) -> String {
        let head = self.head.iter().take(widths.len());
        let head: Vec<Cell> = head.map(|text| Cell::new(text.clone(), BOLD)).collect();
        let mut text = String::new();
        for row in std::iter::once(&head).chain(&self.rows) {
            let (row, below) = row.split_at(row.len().min(widths.len()));
            let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or(0);
            for (cell, width) in row.iter().zip(widths).take(last) {
                text += &cell.styled_text();
                text += &" ".repeat(width - cell.width() + 2);
            }
            text += &row.get(last).map(Cell::styled_text).unwrap_or_default();
            text.push('\n');
            for cell in below.iter().filter(|cell| !cell.text.is_empty()) {
                text += &format!("{INDENT}{}\n", cell.styled_text());
            }
        }
        text
    }

    fn blocks(&self) -> String {
        let width = self.head.iter().skip(1).map(|text| text.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        let mut previous = "";
        for row in &self.rows {
            let Some(first) = row.first() else { continue };
            // An empty first cell belongs to the row above.
            if !first.text.is_empty() && first.text != previous {
                text += &format!("{}\n", paint(BOLD, &first.text));
                previous = &first.text;
            }
            for (head, cell) in self.head.iter().zip(row).skip(1) {
                if !cell.text.is_empty() {
                    let label = paint(DIM, &format!("{:width$}", head.to_lowercase()));
                    text += &format!("  {label}  {}\n", cell.styled_text());
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn table() -> Table {
        let mut table = Table::new(&["PROJECT", "ENV", "STATE", "URL"]).with_movable_last_column();
        let url = "https://a.example.com/";
        table.row(vec!["acme/website".into(), "local".into(), "up to date".into(), url.into()]);
        table.row(vec!["".into(), "staging".into(), "no env block".into()]);
        table
    }

    #[test]
    fn a_table_has_aligned_columns() {
        let text = anstream::adapter::strip_str(&table().text(Some(80))).to_string();
        expect![[r#"
            PROJECT       ENV      STATE         URL
            acme/website  local    up to date    https://a.example.com/
                          staging  no env block
        "#]]
        .assert_eq(&text);
        assert_eq!(table().text(None), table().text(Some(80)));
    }

    #[test]
    fn moves_a_wide_last_column_below_its_row() {
        let text = anstream::adapter::strip_str(&table().text(Some(50))).to_string();
        expect![[r#"
            PROJECT       ENV      STATE
            acme/website  local    up to date
              https://a.example.com/
                          staging  no env block
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn a_narrow_terminal_gets_a_block_for_each_row() {
        let text = anstream::adapter::strip_str(&table().text(Some(30))).to_string();
        expect![[r#"
            acme/website
              env    local
              state  up to date
              url    https://a.example.com/
              env    staging
              state  no env block
        "#]]
        .assert_eq(&text);
    }
}
