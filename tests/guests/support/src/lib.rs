//! What the guests of the tests share: one HTTP POST, reading the configuration, and the art of misbehaving.

pub mod answers;
pub mod deeds;
pub mod http;

mod calls;
mod cpu;
mod memory;
mod script;
mod wasi;

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "package tests:support; world support {
            import wasi:http/outgoing-handler@0.2.12;
            import wasi:config/store@0.2.0-rc.1;
            import wasi:logging/logging@0.1.0-draft;
            import wasi:clocks/monotonic-clock@0.2.12;
            import wasi:random/random@0.2.12;
            import wasi:cli/stdout@0.2.12;
        }",
        generate_all,
    });
}

/// The operator's setting of that name; empty if there is none.
pub fn config(key: &str) -> String {
    bindings::wasi::config::store::get(key).ok().flatten().unwrap_or_default()
}

/// The value of a label, if the alert carries it.
pub fn label<'a>(labels: &'a [(String, String)], name: &str) -> Option<&'a str> {
    labels.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// The deed that its script asks for at this place of a guest's life; empty if none is.
pub fn scripted(place: &str) -> String {
    script::at(place)
}
