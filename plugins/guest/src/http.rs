//! One request over `wasi:http`, and what its answer means for the host's retries.
//!
//! The general clients for components (`wstd` 0.6, `waki` 0.5) are not used: where the body cannot be written they
//! report that, and not the error behind it, so a refusal by the host looks like a network that may recover.

mod answer;
mod encode;
mod request;
mod send;
mod service;
mod target;
mod transport;
mod wait;

pub use answer::Answer;
pub use encode::{header_value, plain_id};
pub use request::{Method, Request};
pub use service::{Rule, Service};

use crate::types::Failure;

/// How a notifier of several steps sends: [`Request::send`], or in a unit test what answers in its place.
pub type Send<'a> = &'a mut dyn FnMut(&Request) -> Result<Answer, Failure>;
