//! A sound component that is no plugin: it exports something else.

use exports::elsewhere::greeting::greeter::Guest;

wit_bindgen::generate!({
    inline: "package elsewhere:greeting@1.0.0;
        interface greeter { greet: func() -> string; }
        world greeting { export greeter; }",
});

struct Greeter;

impl Guest for Greeter {
    fn greet() -> String {
        "hello".to_owned()
    }
}

export!(Greeter);
