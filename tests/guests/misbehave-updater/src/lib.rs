//! A status updater that does what it is asked: by the label `do` in `update-status`, by its script at instantiation and in `describe`.

use exports::campanile::status_updater::status_updater::{Change, Description, Failure, Guest, Receipt};
use guest_support::answers::{self, Answer};
use guest_support::{deeds, label, scripted};

use campanile::types::types::Retry;

wit_bindgen::generate!({
    path: "../../../wit",
    world: "campanile:status-updater/plugin@0.1.0",
    generate_all,
});

struct Misbehave;

#[used]
#[unsafe(link_section = ".init_array")]
static AT_INSTANTIATION: extern "C" fn() = deeds::initialise;

impl Guest for Misbehave {
    fn describe() -> Description {
        let what = scripted("describe");
        deeds::commit(&what);
        Description {
            name: "misbehave-updater".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: answers::text(&what).unwrap_or_else(|| "Does what it is asked.".to_owned()),
            config_schema: answers::schema(&what),
            http: answers::wishes(&what),
            secrets: Vec::new(),
        }
    }

    fn update_status(change: Change) -> Result<Receipt, Failure> {
        let what = label(&change.alert.labels, "do").unwrap_or_default();
        deeds::commit(what);
        match answers::answer(what) {
            Answer::Ordinary | Answer::Drop => receipt(None, "behaved for once".to_owned()),
            Answer::Text(text) => receipt(None, text),
            Answer::Id(id) => receipt(Some(id), String::new()),
            Answer::Failure(code, again) => Err(failure(code, again)),
        }
    }
}

fn receipt(id: Option<String>, message: String) -> Result<Receipt, Failure> {
    Ok(Receipt { id, message })
}

fn failure(code: String, again: bool) -> Failure {
    let retry = if again { Retry::Backoff } else { Retry::Never };
    Failure { code, message: "failing as asked".to_owned(), retry }
}

export!(Misbehave);
