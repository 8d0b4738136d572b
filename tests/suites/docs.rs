//! The API's documentation, in a real browser that can reach nothing but the host.

use std::process::{Command, Stdio};
use std::time::Duration;

use harness::{Settings, tools};

/// How long the browser may take; it ends by itself once the page is still.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_needs_nothing_but_the_host() {
    let Some(browser) = tools::browser() else {
        return tools::skipped("the documentation in a browser: no chromium on the PATH");
    };
    let host = Settings::new().start().await;
    let profile = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new(browser);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"])
        .args(["--disable-background-networking", "--disable-component-update"])
        .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--virtual-time-budget=20000", "--dump-dom"])
        .arg(host.at("/docs/"))
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let page = tokio::task::spawn_blocking(move || command.output());
    let page = tokio::time::timeout(PATIENCE, page).await.expect("the browser ends").expect("no panic");
    let page = String::from_utf8_lossy(&page.expect("the browser starts").stdout).into_owned();
    for shown in ["/webhook/alerts/sync", "/alerts/{workflow_id}", "WebhookRequest", "AlertPayload"] {
        // Swagger UI lets long paths break at their slashes.
        assert!(page.replace('\u{200b}', "").contains(shown), "{shown} is not on the page:\n{page}");
    }
}
