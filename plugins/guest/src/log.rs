//! Lines in the host's log, which carry the plugin's name and the alert's id already.

use crate::bindings::wasi::logging::logging::{Level, log};

/// Something that the operator wants to read.
pub fn info(message: &str) {
    log(Level::Info, "", message);
}

/// Something that went less well than it should.
pub fn warn(message: &str) {
    log(Level::Warn, "", message);
}
