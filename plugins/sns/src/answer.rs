//! An answer in XML, as the JSON in which the table of errors looks things up.

use campanile_guest::http::Answer;
use roxmltree::Document;
use serde_json::json;

/// The answer with `{"id": …, "code": …, "message": …}` for its text; as it is if it is not XML.
pub(crate) fn read(mut answer: Answer) -> Answer {
    let known = Document::parse(&answer.text).ok().map(|xml| {
        json!({
            "id": element(&xml, "MessageId"), "code": element(&xml, "Code"), "message": element(&xml, "Message"),
        })
    });
    if let Some(known) = known {
        answer.text = known.to_string();
    }
    answer
}

fn element<'a>(xml: &'a Document, name: &str) -> Option<&'a str> {
    xml.descendants().find(|node| node.tag_name().name() == name)?.text().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_xml_is_read() {
        let text = "<?xml version=\"1.0\"?>\n<a:ErrorResponse xmlns:a=\"http://sns.amazonaws.com/doc/2010-03-31/\">\
                    <a:Error><a:Code> NotFound</a:Code><a:Message>a &lt; b</a:Message></a:Error></a:ErrorResponse>";
        let read = read(Answer::of(404, text)).json();
        assert_eq!(read, json!({ "id": null, "code": "NotFound", "message": "a < b" }));
    }

    #[test]
    fn what_is_not_xml_stays() {
        for text in ["", "<html>", "no", "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>"] {
            assert_eq!(read(Answer::of(500, text)).text, text);
        }
    }
}
