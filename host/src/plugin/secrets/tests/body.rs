//! Placeholders in bodies: filled in by a grant of their own, escaped, and only if the host handed them out.

use super::*;

/// A body filled in for a call whose mark is in `template` as `MARK`.
fn in_body(grants: &[&str], kind: &str, template: &str) -> Result<String, String> {
    let in_body = grants.iter().map(|name| (*name).to_owned()).collect();
    let grants = GrantsConfig { secrets_in_body: in_body, ..GrantsConfig::default() };
    let grants = Grants::try_from(grants).unwrap();
    let mark = Mark::new();
    let settings = mark.apply(&[("key".to_owned(), template.to_owned())].into());
    let mut headers = HeaderMap::new();
    if !kind.is_empty() {
        headers.insert("content-type", HeaderValue::from_str(kind).unwrap());
    }
    let url = Url::parse("https://hooks.example/").unwrap();
    let body = settings[0].1.clone().into();
    match sample().load().fill_body(&grants, &mark, &url, &headers, body, 200) {
        Ok(body) => Ok(String::from_utf8(body.to_vec()).unwrap()),
        Err(error) => Err(mark.remove(&error.to_string())),
    }
}

#[test]
fn a_granted_secret_is_filled_into_a_body_as_its_type_asks() {
    let json = r#"{"key":"${secret:ODD}","more":["x ${secret:PATH}"]}"#;
    let filled = r#"{"key":"a b&c=d?e#f%/é","more":["x T000/B000/XXXX"]}"#;
    for kind in ["application/json", "application/problem+json; charset=utf-8", ""] {
        assert_eq!(in_body(&["ODD", "PATH"], kind, json).unwrap(), filled, "{kind}");
    }
    let form = "application/x-www-form-urlencoded";
    for text in ["key=${secret:PATH}&x=1", "key=%24%7Bsecret%3APATH%7D&x=1"] {
        assert_eq!(in_body(&["PATH"], form, text).unwrap(), "key=T000%2FB000%2FXXXX&x=1");
    }
    assert_eq!(in_body(&["ODD"], "text/plain", "${secret:ODD}").unwrap(), "a b&c=d?e#f%/é");
    assert_eq!(in_body(&["ODD"], "", "${secret:ODD}").unwrap(), "a b&c=d?e#f%/é");
}

#[test]
fn a_value_cannot_break_out_of_a_json_string() {
    let sample = Sample::new().add("ODD", SecretKind::Text, r#"","admin":"\"#, &["hooks.example"]);
    let grants = GrantsConfig { secrets_in_body: vec!["ODD".to_owned()], ..GrantsConfig::default() };
    let mark = Mark::new();
    let settings = mark.apply(&[("key".to_owned(), r#"{"key":"${secret:ODD}"}"#.to_owned())].into());
    let url = Url::parse("https://hooks.example/").unwrap();
    let body = sample.load().fill_body(
        &grants.try_into().unwrap(),
        &mark,
        &url,
        &HeaderMap::new(),
        settings[0].1.clone().into(),
        1000,
    );
    let body: serde_json::Value = serde_json::from_slice(&body.unwrap()).unwrap();
    assert_eq!(body, serde_json::json!({"key": r#"","admin":"\"#}));
}

#[test]
fn a_body_is_filled_only_by_its_own_grant() {
    let refused = |grants: &[&str], text: &str| in_body(grants, "", text).unwrap_err();
    assert_eq!(
        refused(&["PATH"], "${secret:ODD}"),
        "secret ODD is not granted for bodies; to allow it, add to [grants]: secrets-in-body = [\"ODD\"]"
    );
    for (name, expected) in [
        ("TOKEN", "cannot be used in the body; a bearer token is"),
        ("PASSWORD", "cannot be used in the body; a basic password is"),
        ("KEY", "cannot be used in the body; a signing key is"),
        ("AWS", "cannot be used in the body; an AWS key is"),
        ("NOWHERE", "is not declared"),
        ("ELSEWHERE", "is not granted for bodies"),
    ] {
        let granted = ["TOKEN", "PASSWORD", "KEY", "AWS", "NOWHERE"];
        let error = refused(&granted, &format!("${{secret:{name}}}"));
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(in_body(&["LONG"], "", &"${secret:LONG}".repeat(2)).unwrap().len(), 200);
    let many = "${secret:LONG}".repeat(3);
    assert!(refused(&["LONG"], &many).contains("larger than the limit `request-body`"));
}

#[test]
fn a_body_that_only_mentions_a_placeholder_is_left_as_it_is() {
    let url = Url::parse("https://evil.example/").unwrap();
    let mark = Mark::new();
    let other = Mark::new().apply(&[("key".to_owned(), "${secret:PATH}".to_owned())].into());
    for mention in ["{\"title\":\"${secret:PATH} is not set\"}", "${secret:UNKNOWN}", &other[0].1] {
        let body = sample().load().fill_body(
            &everything(),
            &mark,
            &url,
            &HeaderMap::new(),
            mention.to_owned().into(),
            1000,
        );
        assert_eq!(body.unwrap(), mention);
    }
}
