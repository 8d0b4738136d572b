//! Who is asked for the addresses of a name.

use std::io;
use std::net::SocketAddr;

use tokio::net::lookup_host;

/// The system, or in tests a table.
#[derive(Clone)]
pub(super) enum Resolver {
    System,
    #[cfg(test)]
    Table(std::sync::Arc<table::Table>),
}

impl Resolver {
    /// Asks once.
    pub(super) async fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::System => Ok(lookup_host((name, port)).await?.collect()),
            #[cfg(test)]
            Self::Table(table) => table.answer(name, port),
        }
    }
}

#[cfg(test)]
pub(super) mod table {
    use std::collections::{BTreeMap, VecDeque};
    use std::net::IpAddr;

    use parking_lot::Mutex;

    use super::*;

    /// The answers for each name in a row, the last one again and again; and what was asked.
    #[derive(Default)]
    pub(in super::super) struct Table {
        answers: Mutex<BTreeMap<String, VecDeque<Vec<IpAddr>>>>,
        asked: Mutex<Vec<String>>,
        /// The port that everything is at, whatever the URL says.
        port: Option<u16>,
    }

    impl Table {
        /// A table with one name.
        pub(in super::super) fn of(name: &str, answers: &[&[&str]]) -> Self {
            let address = |text: &&str| text.parse().unwrap();
            let answers = answers.iter().map(|answer| answer.iter().map(address).collect()).collect();
            Self { answers: Mutex::new([(name.to_owned(), answers)].into()), ..Self::default() }
        }

        /// A table with several names, each of which has one address.
        pub(in super::super) fn of_all(names: &[(&str, &str)]) -> Self {
            let answers = names
                .iter()
                .map(|(name, address)| ((*name).to_owned(), [vec![address.parse().unwrap()]].into()));
            Self { answers: Mutex::new(answers.collect()), ..Self::default() }
        }

        /// A table with one name, which is on this machine.
        pub(in super::super) fn at(name: &str, port: u16) -> Self {
            Self { port: Some(port), ..Self::of(name, &[&["127.0.0.1"]]) }
        }

        /// The names that were asked for, in order.
        pub(in super::super) fn asked(&self) -> Vec<String> {
            self.asked.lock().clone()
        }

        pub(super) fn answer(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            self.asked.lock().push(name.to_owned());
            let mut answers = self.answers.lock();
            let unknown = || io::Error::other("Name or service not known");
            let row = answers.get_mut(name).ok_or_else(unknown)?;
            let answer = if row.len() > 1 { row.pop_front() } else { row.front().cloned() };
            let port = self.port.unwrap_or(port);
            Ok(answer.unwrap_or_default().into_iter().map(|address| (address, port).into()).collect())
        }
    }
}
