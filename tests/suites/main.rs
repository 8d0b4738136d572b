//! The end-to-end suites: the real host, the real Temporal server, real components, real sockets. Each test reads as a
//! sentence, has a host and a task queue of its own, and waits for signals.

mod access;
mod batches;
mod calls;
mod check;
mod commands;
mod containers;
mod contract;
mod delivery;
mod docs;
mod documents;
mod durability;
mod embedded;
mod examples;
mod faults;
mod garbage;
mod history;
mod hostile;
mod identity;
mod lists;
mod observability;
mod outside;
mod plugins;
mod processors;
mod quarantine;
mod replay;
mod roles;
mod secrets;
mod senders;
mod shipped;
mod sources;
mod spool;
mod toolchains;
mod trust;
mod unreachable;
