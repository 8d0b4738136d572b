//! Tables for people.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

use super::output;
use crate::shown;

/// Rows under a header, without lines between them. What a cell holds cannot become a row of its own.
pub(super) struct Rows(Table);

impl Rows {
    pub(super) fn new(header: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
        Self(table)
    }

    pub(super) fn add<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.0.add_row(cells.into_iter().map(|cell| shown::line(cell.as_ref()).into_owned()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Prints all of them.
    pub(super) fn print(&self) {
        output::lines(&self.0);
    }
}
