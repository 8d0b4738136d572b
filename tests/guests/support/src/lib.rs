//! What the guests of the tests share: one HTTP POST, reading the configuration, and the art of misbehaving.

pub mod http;
pub mod misdeed;

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "package tests:support; world support {
            import wasi:http/outgoing-handler@0.2.12;
            import wasi:config/store@0.2.0-rc.1;
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
