//! Addresses, headers and keys that only look like something.

use super::{Door, Row};

/// A request without a body.
fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: c\r\n{lines}\r\n")
}

/// A post with these lines for a key, which starts nothing.
fn post(path: &str, lines: &str) -> String {
    let body = r#"{"alerts":[]}"#;
    format!("POST {path} HTTP/1.1\r\nhost: c\r\n{lines}content-length: {}\r\n\r\n{body}", body.len())
}

fn rows<'a>(texts: &'a [(String, &'a str)]) -> Vec<Row<'a>> {
    texts.iter().map(|(text, outcome)| (text.as_str(), text.as_str(), *outcome)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_what_it_says_and_no_detour_leads_to_another() {
    let door = Door::open().await;
    let alerts = |path: &str| format!("POST {path} HTTP/1.1\r\nhost: c\r\n<rest><length>\r\n<body>");
    let same = [
        "/webhook/alerts/",
        "//webhook/alerts",
        "/webhook/alerts?",
        "/webhook/alerts?x=%ff",
        "/webhook/alerts#x",
    ];
    door.takes(&rows(&same.map(|path| (alerts(path), "200")))).await;
    let none = [
        "/webhook/%61lerts",
        "/webhook//alerts",
        "/./webhook/alerts",
        "/WEBHOOK/alerts",
        "/webhook/Alerts",
        "/webhook/alerts;a=b",
        "/webhook;a=b/alerts",
        "/webhook/alerts%00",
        "/webhook/alerts%20",
        "/webhook/alerts%2fsync",
        "/webhook/alerts\\sync",
        "/webhook/alerts/../../plugins",
        "/webhook/alerts%2f..%2fplugins",
        "/webhook/..%2fplugins",
        "/webhook/alertmanager%2f",
        "/webhook/%",
        "/webhook/%zz",
        "/webhook/",
        "/webhook",
    ];
    door.refuses(&rows(&none.map(|path| (alerts(path), "404")))).await;
    // What stands behind a source's address is the source's affair.
    let below = ["/webhook/alertmanager/%2e%2e/", "/webhook/alertmanager/api/../../alerts"];
    door.refuses(&rows(&below.map(|path| (post(path, "x-api-key: <post>\r\n"), "200")))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_no_text_is_refused_in_the_one_shape() {
    let door = Door::open().await;
    for path in ["/webhook/%ff", "/webhook/alertmanager/%ff"] {
        let said = door.say(&door.bytes(&post(path, "x-api-key: <post>\r\n")), "400").await;
        assert_eq!(said.outcome(), "400", "{path}: {}", said.text);
        assert!(said.text.contains(r#""code":"invalid-request""#), "{path}: {}", said.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administrators_pages_open_by_an_admin_key_alone() {
    let door = Door::open().await;
    let asked = [
        "/plugins",
        "/plugins/",
        "//plugins",
        "/plugins//",
        "/plugins?x",
        "/plugins#x",
        "http://c/plugins",
        "/alerts",
    ];
    door.refuses(&rows(&asked.map(|path| (get(path, ""), "401")))).await;
    let none = [
        "/PLUGINS",
        "/%70lugins",
        "/plugins%2f",
        "/plugins;x",
        "/./plugins",
        "/docs/../plugins",
        "/docs/%2e%2e/plugins",
    ];
    door.refuses(&rows(&none.map(|path| (get(path, ""), "404")))).await;
    let detours = ["/webhook/../plugins", "/webhook/alerts/../../plugins", "/plugins/log/release"];
    door.refuses(&rows(&detours.map(|path| (get(path, ""), "405")))).await;
    let tricks = [
        "x-forwarded-for: 127.0.0.1",
        "forwarded: for=127.0.0.1",
        "x-real-ip: 127.0.0.1",
        "x-original-url: /health",
        "x-rewrite-url: /health",
        "x-forwarded-prefix: /health",
        "proxy-authorization: Bearer <admin>",
        "x_api_key: <admin>",
        "cookie: x-api-key=<admin>; token=<admin>; authorization=Bearer <admin>",
    ];
    door.refuses(&rows(&tricks.map(|line| (get("/plugins", &format!("{line}\r\n")), "401")))).await;
    door.refuses(&[
        ("in the URL", &get("/plugins?token=<admin>", ""), "401"),
        ("the page is the one in the first line", &get("/livez", "x-original-url: /plugins\r\n"), "200"),
    ])
    .await;
    let methods = ["x-http-method-override", "x-http-method", "x-method-override"];
    let lines = methods
        .map(|name| (get("/webhook/alerts", &format!("{name}: POST\r\nx-api-key: <post>\r\n")), "405"));
    door.refuses(&rows(&lines)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_taken_as_it_is_written_and_where_it_may_stand() {
    let door = Door::open().await;
    let path = "/webhook/alertmanager";
    let good = [
        post(path, "authorization: bearer <post>\r\n"),
        post(path, "authorization:\t Bearer  <post> \r\n"),
        post(path, "authorization: Bearer <post>\r\nx-api-key: z\r\n"),
        post(&format!("{path}?token=<url>"), ""),
        post(&format!("{path}?token=<url>&token=z"), ""),
        post(&format!("{path}?%74oken=<url>"), ""),
        post(&format!("{path}/<url>/x"), ""),
        post(&format!("/{path}/<url>/"), ""),
    ];
    door.refuses(&rows(&good.map(|text| (text, "200")))).await;
    let wrong = [
        "",
        "authorization: <post>",
        "authorization: Bearer<post>",
        "authorization: Bearer\t<post>",
        "authorization: Token <post>",
        "authorization: Bearer \"<post>\"",
        "authorization: Bearer <post>,",
        "authorization: Bearer <post> x",
        "x-api-key: <post>x",
        "authorization: Bearer z\r\nx-api-key: <post>",
        "authorization:\r\nx-api-key: <post>",
        "cookie: token=<post>",
    ];
    let lines = |line: &str| if line.is_empty() { String::new() } else { format!("{line}\r\n") };
    door.refuses(&rows(&wrong.map(|line| (post(path, &lines(line)), "401")))).await;
    let below = [
        "?token=<post>",
        "?token=z&token=<url>",
        "?Token=<url>",
        "?a=1;token=<url>",
        "/<url>?token=",
        "/x/<url>",
        ";<url>",
    ];
    door.refuses(&rows(&below.map(|below| (post(&format!("{path}{below}"), ""), "401")))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_credentials_none_is_taken() {
    let door = Door::open().await;
    let twice = [
        "authorization: Bearer <post>\r\nauthorization: Bearer z",
        "authorization: Bearer z\r\nauthorization: Bearer <post>",
        "x-api-key: <post>\r\nx-api-key: z",
        "x-api-key: z\r\nx-api-key: <post>",
        "authorization: \u{ff}\r\nx-api-key: <post>",
    ];
    let path = "/webhook/alertmanager";
    door.refuses(&rows(&twice.map(|lines| (post(path, &format!("{lines}\r\n")), "401")))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_never_logged_wherever_it_was_put() {
    let door = Door::open().await;
    let key = door.url.clone();
    let bare = key.strip_prefix("cmp_").expect("a key has its mark");
    let encoded = format!("%63mp_{bare}");
    let (good, admin) = ("x-api-key: <post>\r\n", "x-api-key: <admin>\r\n");
    let said = [
        post(&format!("/webhook/alertmanager/{encoded}"), ""),
        post(&format!("/webhook/alertmanager/%2563mp_{bare}"), ""),
        post(&format!("/webhook/alertmanager/x%2f{key}"), ""),
        post(&format!("/webhook/alertmanager;key={key}"), ""),
        post(&format!("/webhook/alertmanager/key={key}"), ""),
        post(&format!("/webhook/{key}"), ""),
        post(&format!("/webhook/{encoded}"), ""),
        post(&format!("/webhook/{key}"), good),
        post(&format!("/nowhere/{encoded}"), ""),
        post(&format!("/nowhere/x{key}"), ""),
        post(
            &format!("/webhook/alerts/sync?timeout={key}"),
            &format!("content-type: application/json\r\n{good}"),
        ),
        post(&format!("/plugins/{key}/release"), admin),
        get(&format!("/alerts/{key}"), admin),
        format!("DELETE /webhook/alertmanager/{encoded}/x HTTP/1.1\r\nhost: c\r\n\r\n"),
        get("/nowhere", &format!("x-request-id: {key}\r\n")),
    ];
    for text in &said {
        let heard = door.say(&door.bytes(text), "404").await;
        assert!(heard.statuses.len() == 1 && heard.statuses[0] < 500, "{text}: {}", heard.text);
    }
    let last = get("/the/last", "");
    door.say(&door.bytes(&last), "404").await;
    door.host.log().wait_for("the last refusal", |event| event["path"] == "/the/last").await;
    let events = door.host.log().events();
    let told: Vec<_> = events.iter().filter(|event| event.to_string().contains(bare)).collect();
    assert!(told.is_empty(), "{} of {} are in the log: {told:#?}", told.len(), said.len());
}
