//! Lines in the host's log, which carry the plugin's name and the alert's id already. Outside of a component, as in a
//! unit test, there is no host to tell.

use crate::bindings::wasi::logging::logging::{Level, log};

/// Something that the operator wants to read.
pub fn info(message: &str) {
    line(Level::Info, message);
}

/// Something that went less well than it should.
pub fn warn(message: &str) {
    line(Level::Warn, message);
}

fn line(level: Level, message: &str) {
    if cfg!(target_family = "wasm") {
        log(level, "", message);
    }
}
