//! Tables: on a terminal no wider than it is, elsewhere a line for each row, uncut, with tabs between the cells.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::output;
use crate::shown;

/// What is between two columns of a terminal.
const GAP: usize = 2;
/// How narrow a column of texts becomes.
const NARROWEST: usize = 10;

/// A column, by its head.
#[derive(Clone, Copy)]
pub(super) enum Column {
    /// Texts, which are cut where the terminal has no room for them.
    Text(&'static str),
    /// Ids, times and numbers, which are never cut.
    Whole(&'static str),
}

impl Column {
    fn head(self) -> String {
        let (Self::Text(head) | Self::Whole(head)) = self;
        head.to_owned()
    }
}

/// Rows under a header, without lines between them. What a cell holds cannot become a cell or a row of its own.
pub(super) struct Rows {
    columns: Vec<Column>,
    /// The header is the first one.
    rows: Vec<Vec<String>>,
}

impl Rows {
    pub(super) fn new(columns: &[Column]) -> Self {
        let header = columns.iter().map(|column| column.head()).collect();
        Self { columns: columns.to_vec(), rows: vec![header] }
    }

    pub(super) fn add<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(|cell| shown::line(cell.as_ref()).into_owned()).collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// Prints all of them.
    pub(super) fn print(&self) {
        match output::terminal_width() {
            Some(room) => self.fitted(room).iter().for_each(output::line),
            None => self.rows.iter().for_each(|row| output::cells(row)),
        }
    }

    /// The lines on a terminal. Where the last column has no room beside the others, it has lines of its own.
    fn fitted(&self, room: usize) -> Vec<String> {
        let mut widths = self.widths();
        if !narrow(&self.columns, &mut widths, room) {
            widths = self.widths();
            widths.pop();
            narrow(&self.columns, &mut widths, room);
        }
        self.rows.iter().flat_map(|row| lines_of(row, &widths)).collect()
    }

    /// How wide each column is by itself.
    fn widths(&self) -> Vec<usize> {
        let widest =
            |index: usize| self.rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.width()).max();
        (0..self.columns.len()).map(|index| widest(index).unwrap_or_default()).collect()
    }
}

/// Narrows the columns of texts, the widest first, until all columns fit. Returns whether they do.
fn narrow(columns: &[Column], widths: &mut [usize], room: usize) -> bool {
    while widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1) > room {
        let texts = columns.iter().zip(widths.iter_mut()).filter_map(|(column, width)| match column {
            Column::Text(_) if *width > NARROWEST => Some(width),
            _ => None,
        });
        match texts.max_by_key(|width| **width) {
            Some(widest) => *widest -= 1,
            None => return false,
        }
    }
    true
}

/// The line of a row, and the one below it with the cell for which `widths` has no column.
fn lines_of(row: &[String], widths: &[usize]) -> Vec<String> {
    let cells = row.iter().zip(widths).map(|(cell, width)| padded(&cut(cell, *width), *width));
    let line = cells.collect::<Vec<_>>().join(&" ".repeat(GAP));
    let below = row.get(widths.len()).filter(|cell| !cell.is_empty());
    [Some(line.trim_end().to_owned()), below.map(|cell| format!("  {cell}"))].into_iter().flatten().collect()
}

fn padded(cell: &str, width: usize) -> String {
    format!("{cell}{}", " ".repeat(width.saturating_sub(cell.width())))
}

/// The beginning of a text, with a mark where it is cut.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let fits = |c: &char| {
        let wide = c.width().unwrap_or_default();
        let fits = wide <= room;
        room = room.saturating_sub(wide);
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::Column::{Text, Whole};
    use super::*;
    use crate::cli::output::tests::printed;

    const ID: &str = "alert-8a07086b74f3ba78@alertmanager-20260122-114717";

    fn rows() -> Rows {
        let mut rows = Rows::new(&[Whole("ACCEPTED"), Text("SOURCE"), Text("TITLE"), Whole("ALERT")]);
        rows.add(["2026-11-26T06:08:35Z", "Alertmanager", "Disk of web-1 has 2 % left: clean it up now", ID]);
        rows.add(["2026-11-26T06:08:36Z", "grün", "磁盘空间不足磁盘空间不足磁盘空间不足", "alert-a b"]);
        rows
    }

    #[test]
    fn a_table_fits_every_terminal_that_has_room_for_the_ids() {
        for room in 56..=220 {
            let lines = rows().fitted(room);
            let widest = lines.iter().map(|line| line.width()).max();
            assert!(widest <= Some(room), "{room}: {widest:?}\n{}", lines.join("\n"));
            for id in [ID, "alert-a b"] {
                assert!(lines.iter().any(|line| line.ends_with(id)), "{room}: {id}\n{}", lines.join("\n"));
            }
            assert!(lines.iter().all(|line| *line == line.trim_end()), "{room}");
        }
    }

    #[test]
    fn texts_are_cut_and_ids_are_not() {
        let expected = [
            "ACCEPTED              SOURCE      TITLE       ALERT",
            "2026-11-26T06:08:35Z  Alertmana…  Disk of w…  alert-8a07086b74f3ba78@alertmanager-20260122-114717",
            "2026-11-26T06:08:36Z  grün        磁盘空间…   alert-a b",
        ];
        assert_eq!(rows().fitted(97), expected);
        let expected = [
            "ACCEPTED              SOURCE        TITLE",
            "  ALERT",
            "2026-11-26T06:08:35Z  Alertmanager  Disk of web-1 has 2 % left: clean it up now",
            "  alert-8a07086b74f3ba78@alertmanager-20260122-114717",
            "2026-11-26T06:08:36Z  grün          磁盘空间不足磁盘空间不足磁盘空间不足",
            "  alert-a b",
        ];
        assert_eq!(rows().fitted(80), expected);
        assert_eq!(rows().fitted(200).len(), 3);
    }

    #[test]
    fn a_row_that_no_terminal_shows_is_one_line_with_every_cell_whole() {
        let lines = printed(|| rows().print());
        assert_eq!(lines[0], "ACCEPTED\tSOURCE\tTITLE\tALERT");
        let cells: Vec<&str> = lines[1].split('\t').collect();
        assert_eq!(cells[2..], ["Disk of web-1 has 2 % left: clean it up now", ID]);
        let mut odd = Rows::new(&[Whole("A"), Text("B")]);
        odd.add(["a\tb\nc", "d"]);
        assert_eq!(printed(|| odd.print())[1], "a\\tb\\nc\td");
    }
}
