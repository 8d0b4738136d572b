//! What the end-to-end suites stand on: the real host in a process of its own, the real Temporal server, recording HTTP
//! and SMTP servers, and the components that were built for them. Everything listens on the loopback address, on ports
//! that the system chose, and ends with the test process.

pub mod alerts;
pub mod artifacts;
pub mod chance;
pub mod cli;
pub mod host;
pub mod languages;
pub mod load;
pub mod log;
pub mod plugin;
pub mod postgres;
pub mod process;
pub mod project;
pub mod receiver;
pub mod senders;
pub mod settings;
pub mod smtp;
pub mod temporal;
pub mod tools;
pub mod wait;
pub mod web;

pub use host::{Host, Server};
pub use plugin::Plugin;
pub use postgres::Postgres;
pub use receiver::{Answer, Receiver};
pub use settings::Settings;
pub use smtp::Smtp;
pub use temporal::Temporal;
pub use wait::until;
