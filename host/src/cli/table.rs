//! Tables: on a terminal no wider than it is, elsewhere a line for each row, uncut, with tabs between the cells.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::iter;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::output;
use crate::shown;

/// What is between two columns of a terminal.
const GAP: usize = 2;
/// How narrow a column of texts becomes, and one of headlines.
const NARROWEST: usize = 10;
const NARROWEST_TITLE: usize = 24;

/// A column, by its head.
#[derive(Clone, Copy)]
pub(super) enum Column {
    /// Texts, which are cut where the terminal has no room for them.
    Text(&'static str),
    /// Headlines: texts of which a few letters say too little.
    Title(&'static str),
    /// What explains the row, and is never cut.
    Reason(&'static str),
    /// Ids and numbers, which are never cut.
    Whole(&'static str),
    /// Times; on a terminal without fractions of a second.
    Time(&'static str),
}

impl Column {
    fn head(self) -> String {
        let (Self::Text(head)
        | Self::Title(head)
        | Self::Reason(head)
        | Self::Whole(head)
        | Self::Time(head)) = self;
        head.to_owned()
    }

    /// How narrow it becomes, if it can be cut.
    fn narrowest(self) -> Option<usize> {
        match self {
            Self::Text(_) => Some(NARROWEST),
            Self::Title(_) => Some(NARROWEST_TITLE),
            Self::Reason(_) | Self::Whole(_) | Self::Time(_) => None,
        }
    }

    /// Which columns get lines of their own first where there is no room beside the others: a last one that is never cut,
    /// such as an id, then texts by how much a cut costs.
    fn leaves(self, is_last: bool) -> u8 {
        match self {
            Self::Reason(_) | Self::Whole(_) | Self::Time(_) if is_last => 0,
            Self::Title(_) => 1,
            Self::Reason(_) => 2,
            Self::Text(_) => 3,
            Self::Whole(_) | Self::Time(_) => 4,
        }
    }

    /// A cell of it, as a terminal shows it.
    fn shown(self, cell: &str) -> Cow<'_, str> {
        match (self, cell.split_once('.')) {
            (Self::Time(_), Some((seconds, _))) => format!("{seconds}Z").into(),
            _ => cell.into(),
        }
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

    /// The lines on a terminal. A column that has no room beside the others has lines of its own.
    fn fitted(&self, room: usize) -> Vec<String> {
        let rows: Vec<Vec<Cow<'_, str>>> = self.rows.iter().map(|row| self.shown(row)).collect();
        let widths = widths(&rows, self.columns.len());
        let beside = self.beside(&widths, room);
        rows.iter().flat_map(|row| self.lines_of(row, &beside, room)).collect()
    }

    /// The line of a row, and those below it of the cells that have no room beside the others.
    fn lines_of(&self, row: &[Cow<'_, str>], beside: &[(usize, usize)], room: usize) -> Vec<String> {
        let cell = |(index, width): &(usize, usize)| Some(padded(&cut(row.get(*index)?, *width), *width));
        let cells: Vec<String> = beside.iter().filter_map(cell).collect();
        let line = cells.join(&" ".repeat(GAP)).trim_end().to_owned();
        let cells = self.columns.iter().zip(row).enumerate();
        let below = cells.filter(|(index, _)| !beside.iter().any(|(shown, _)| shown == index));
        iter::once(line).chain(below.flat_map(|(_, (column, cell))| wrapped(*column, cell, room))).collect()
    }

    fn shown<'a>(&self, row: &'a [String]) -> Vec<Cow<'a, str>> {
        row.iter().zip(&self.columns).map(|(cell, column)| column.shown(cell)).collect()
    }

    /// The columns that share a line, by their index, each with its width.
    fn beside(&self, widths: &[usize], room: usize) -> Vec<(usize, usize)> {
        let mut whole: Vec<(usize, usize)> = widths.iter().copied().enumerate().collect();
        let mut leaving = self.leaving().into_iter();
        loop {
            let mut beside = whole.clone();
            if narrow(&self.columns, &mut beside, room) {
                return beside;
            }
            match leaving.next() {
                Some(column) => whole.retain(|(index, _)| *index != column),
                None => return beside,
            }
        }
    }

    /// All columns but the first, in the order in which they get lines of their own.
    fn leaving(&self) -> Vec<usize> {
        let last = self.columns.len().saturating_sub(1);
        let mut order: Vec<usize> = (1..self.columns.len()).collect();
        let rank = |index: &usize| self.columns.get(*index).map(|column| column.leaves(*index == last));
        order.sort_by_key(|index| (rank(index), Reverse(*index)));
        order
    }
}

/// How wide each column is by itself.
fn widths(rows: &[Vec<Cow<'_, str>>], columns: usize) -> Vec<usize> {
    let widest = |index: usize| rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.width()).max();
    (0..columns).map(|index| widest(index).unwrap_or_default()).collect()
}

/// Narrows the columns of texts, the widest first, until all columns fit. Returns whether they do.
fn narrow(columns: &[Column], beside: &mut [(usize, usize)], room: usize) -> bool {
    let gaps = GAP * beside.len().saturating_sub(1);
    while beside.iter().map(|(_, width)| width).sum::<usize>() + gaps > room {
        let texts = beside.iter_mut().filter_map(|(index, width)| {
            let narrowest = columns.get(*index)?.narrowest()?;
            (*width > narrowest).then_some(width)
        });
        match texts.max_by_key(|width| **width) {
            Some(widest) => *widest -= 1,
            None => return false,
        }
    }
    true
}

/// The lines of a cell that has its own. A text is broken between words, and in one that no line has room for; an id stays
/// whole.
fn wrapped(column: Column, cell: &str, room: usize) -> Vec<String> {
    let words = match column {
        Column::Whole(_) | Column::Time(_) => vec![cell.to_owned()],
        _ => cell.split_whitespace().flat_map(|word| pieces(word, room.saturating_sub(GAP))).collect(),
    };
    let mut lines: Vec<String> = Vec::new();
    for word in words.iter().filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= room => line.extend([" ", word.as_str()]),
            _ => lines.push(format!("{:GAP$}{word}", "")),
        }
    }
    lines
}

/// A word in parts that are no wider than this.
fn pieces(word: &str, most: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for c in word.chars() {
        match pieces.last_mut() {
            Some(piece) if piece.is_empty() || piece.width() + c.width().unwrap_or_default() <= most => {
                piece.push(c)
            }
            _ => pieces.push(c.to_string()),
        }
    }
    pieces
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
    use super::Column::{Reason, Text, Time, Title, Whole};
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
    fn what_has_no_room_is_below_its_row_and_whole() {
        let mut rows =
            Rows::new(&[Time("ENDED"), Reason("HOW"), Text("RECEIVER"), Title("TITLE"), Whole("DELIVERY")]);
        let how = "discarded: an operator ordered it";
        rows.add(["2026-11-30T10:00:00.123456Z", how, "slack-ops", "Disk of web-1 has 2 % left", ID]);
        let expected = [
            "ENDED                 HOW                                RECEIVER",
            "  TITLE",
            "  DELIVERY",
            "2026-11-30T10:00:00Z  discarded: an operator ordered it  slack-ops",
            "  Disk of web-1 has 2 % left",
            "  alert-8a07086b74f3ba78@alertmanager-20260122-114717",
        ];
        assert_eq!(rows.fitted(80), expected);
        assert_eq!(
            rows.fitted(96)[2],
            "2026-11-30T10:00:00Z  discarded: an operator ordered it  slack-ops  Disk of web-1 has 2 % left"
        );
        assert_eq!(
            rows.fitted(40)[4..],
            [
                "2026-11-30T10:00:00Z  slack-ops",
                "  discarded: an operator ordered it",
                expected[4],
                expected[5]
            ]
        );
        let long = wrapped(Reason("ERROR"), "the memory limit of 128 MiB is reached", 20);
        assert_eq!(long, ["  the memory limit", "  of 128 MiB is", "  reached"]);
        assert_eq!(wrapped(Whole("ALERT"), "alert-a  b", 6), ["  alert-a  b"]);
        assert_eq!(
            wrapped(Title("TITLE"), "磁盘空间不足 https://a/b", 9),
            ["  磁盘空", "  间不足", "  https:/", "  /a/b"]
        );
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
