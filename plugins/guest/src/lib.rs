//! What the shipped plugins share. Nothing here is needed to write a plugin: `wit/` alone is the contract.

pub mod config;
mod digest;
mod document;
mod facts;
pub mod failure;
pub mod fit;
pub mod http;
pub mod log;
mod look;
mod notifier;
pub mod source;
mod status_updater;
pub mod template;
pub mod testing;
pub mod text;

pub use bindings::campanile::types::types;
pub use campanile_lenient::key;
pub use digest::digest;
pub use document::Document;
pub use facts::{Fact, fact, facts, known_facts, own_facts};
pub use look::Look;
pub use notifier::Delivery;
pub use status_updater::{
    Acknowledgement, COMMENT_ON, Change, DeliveryResult, DeliveryState, Outcome, is_commented,
};
pub use text::{cut, is_blank, one_line, short_line};
pub use wit_bindgen;

mod bindings {
    //! Generated from `wit/`: the shared types, and the standard imports that this crate wraps.
    #![expect(missing_docs, reason = "documented in `wit/`")]

    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package campanile:guest;
            world imports {
                import campanile:types/types@0.1.0;
                import wasi:config/store@0.2.0-rc.1;
                import wasi:http/outgoing-handler@0.2.12;
                import wasi:logging/logging@0.1.0-draft;
            }
        ",
        additional_derives: [PartialEq],
        additional_derives_ignore: ["stream-error"],
        generate_all,
    });
}
