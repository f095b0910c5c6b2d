//! Columns of text, aligned the way of `kubectl`'s two writers.

/// The space between columns of a table.
const TABLE_PADDING: usize = 3;
/// No column of a table is narrower, padding included.
const TABLE_MIN: usize = 6;

/// A table that is printed row by row; a column never becomes narrower, so that the rows of a
/// watch stay aligned with those before.
#[derive(Debug, Default)]
pub struct Table {
    widths: Vec<usize>,
}

impl Table {
    /// The text of some rows.
    pub fn rows(&mut self, rows: &[Vec<String>]) -> String {
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| one_line(cell)).collect())
            .collect();
        for row in &rows {
            for (index, cell) in row.iter().enumerate() {
                let width = (cell.chars().count() + TABLE_PADDING).max(TABLE_MIN);
                match self.widths.get_mut(index) {
                    Some(known) => *known = (*known).max(width),
                    None => self.widths.push(width),
                }
            }
        }
        let mut out = String::new();
        for row in &rows {
            for (index, cell) in row.iter().enumerate() {
                out.push_str(cell);
                if index + 1 < row.len() {
                    pad(&mut out, self.widths[index] - cell.chars().count());
                }
            }
            out.push('\n');
        }
        out
    }
}

/// A cell is one line, and sends nothing to the terminal but text.
fn one_line(cell: &str) -> String {
    let (line, cut) = match cell.find(['\n', '\r', '\u{c}']) {
        Some(at) => (&cell[..at], "..."),
        None => (cell, ""),
    };
    format!("{}{cut}", line.replace('\u{1b}', "^["))
}

fn pad(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

/// Aligns text whose cells end with tabs: a column is as wide as the widest of the adjacent
/// lines that have a cell there, and `padding` more. What follows the last tab of a line is not
/// aligned.
pub fn tabs(text: &str, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len() - 1]).collect();
    let columns = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut begin = 0;
        while begin < lines.len() {
            if widths[begin].len() <= column {
                begin += 1;
                continue;
            }
            let length = widths[begin..]
                .iter()
                .take_while(|w| w.len() > column)
                .count();
            let block = begin..begin + length;
            let widest = lines[block.clone()]
                .iter()
                .map(|l| l[column].chars().count())
                .max();
            let width = widest.unwrap_or(0) + padding;
            for line in &mut widths[block] {
                line[column] = width;
            }
            begin += length;
        }
    }
    let mut out = String::new();
    for (cells, widths) in lines.iter().zip(&widths) {
        for (index, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            if let Some(width) = widths.get(index) {
                pad(&mut out, width.saturating_sub(cell.chars().count()));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|c| (*c).to_string()).collect()
    }

    #[test]
    fn a_table_has_three_spaces_between_its_columns() {
        let mut table = Table::default();
        let text = table.rows(&[row(&["NAME", "A", "AGE"]), row(&["web-1", "1", "5s"])]);
        assert_eq!(text, "NAME    A     AGE\nweb-1   1     5s\n");
    }

    #[test]
    fn later_rows_keep_the_columns() {
        let mut table = Table::default();
        table.rows(&[row(&["a-long-name", "b"])]);
        assert_eq!(table.rows(&[row(&["a", "b"])]), "a             b\n");
    }

    #[test]
    fn a_cell_is_one_harmless_line() {
        assert_eq!(Table::default().rows(&[row(&["a\nb"])]), "a...\n");
        assert_eq!(Table::default().rows(&[row(&["\u{1b}[31m"])]), "^[[31m\n");
    }

    #[test]
    fn tabs_align_adjacent_lines_only() {
        let text = "Name:\tweb\nNamespace:\tdefault\nplain\nA:\tb\n";
        assert_eq!(
            tabs(text, 2),
            "Name:       web\nNamespace:  default\nplain\nA:  b\n"
        );
    }
}
