//! What messages look like on the wire, what is refused, and how the server's answers are read, with a server on loopback
//! that follows a script.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::plugin::grants::GrantsConfig;
use crate::plugin::secrets::Secrets;

/// What the server answers to one command, by what it begins with; `.` is the end of a message.
type Script = &'static [(&'static str, &'static str)];

const ACCEPTS: Script = &[];

/// A server that says yes unless its script says otherwise, and hands out each conversation's lines.
async fn server(script: Script) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (lines, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, script, lines.clone()));
        }
    });
    (address, received)
}

async fn converse(stream: TcpStream, script: Script, lines: mpsc::UnboundedSender<String>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 test\r\n").await.ok()?;
    let mut in_message = false;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        let line = line.trim_end_matches("\r\n").to_owned();
        let word = line.split(' ').next()?.to_owned();
        lines.send(line.clone()).ok()?;
        if in_message && word != "." {
            continue;
        }
        in_message = word == "DATA";
        let usual = match word.as_str() {
            "EHLO" => "250-test\r\n250 AUTH PLAIN",
            "DATA" => "354 go on",
            _ => "250 2.0.0 queued as 17",
        };
        let answer =
            script.iter().find(|(command, _)| line.starts_with(command)).map_or(usual, |(_, answer)| answer);
        if answer == "silence" {
            std::future::pending::<()>().await;
        }
        stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
    }
}

fn config(address: SocketAddr) -> MailConfig {
    let table = format!(
        "host = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"Campanile <alerts@example.com>\"",
        address.port()
    );
    toml::from_str(&table).unwrap()
}

fn message() -> MailMessage {
    MailMessage {
        id: "delivery-1".to_owned(),
        in_reply_to: None,
        from: None,
        to: vec!["Ops Team <ops@example.org>".to_owned(), "dev@example.org".to_owned()],
        subject: "Grüße: CPU".to_owned(),
        text: "one\n.\ntwo".to_owned(),
        html: Some("<p>one</p>".to_owned()),
    }
}

fn grants() -> Grants {
    let mail = vec!["*@example.org".to_owned()];
    Grants::try_from(GrantsConfig { mail, ..GrantsConfig::default() }).unwrap()
}

fn mailer(config: MailConfig) -> Mailer {
    Mailer::new(MailSetup::read(config).unwrap_or_else(|faults| panic!("{faults:?}")))
}

async fn sent(mailer: &Mailer, message: MailMessage) -> Result<String, MailError> {
    let deadline = Instant::now() + Duration::from_secs(5);
    mailer.send(&grants(), &Scrubber::default(), message, deadline).await
}

async fn against(script: Script) -> Result<String, MailError> {
    let (address, _lines) = server(script).await;
    sent(&mailer(config(address)), message()).await
}

/// The lines of one message on the wire, from its first header to the final dot.
async fn transcript(message: MailMessage) -> Vec<String> {
    let (address, mut lines) = server(ACCEPTS).await;
    let mailer = mailer(config(address));
    assert_eq!(sent(&mailer, message).await.unwrap(), "250 2.0.0 queued as 17");
    let mut found = Vec::new();
    while let Some(line) = lines.recv().await {
        let last = line == ".";
        found.push(line);
        if last {
            break;
        }
    }
    found
}

#[tokio::test]
async fn a_message_has_both_bodies_and_a_stable_id() {
    let lines = transcript(message()).await;
    let has =
        |start: &str| assert!(lines.iter().any(|line| line.starts_with(start)), "{start} in {lines:#?}");
    has("MAIL FROM:<alerts@example.com>");
    has("RCPT TO:<ops@example.org>");
    has("RCPT TO:<dev@example.org>");
    has("From: Campanile <alerts@example.com>");
    has("Subject: =?utf-8?b?");
    has("Date: ");
    has("Auto-Submitted: auto-generated");
    has("Content-Type: multipart/alternative;");
    has("Content-Type: text/plain; charset=utf-8");
    has("Content-Type: text/html; charset=utf-8");
    has("..");
    let id = |lines: &[String]| lines.iter().find(|line| line.starts_with("Message-ID: <")).unwrap().clone();
    assert!(id(&lines).ends_with("@example.com>"), "{}", id(&lines));
    assert_eq!(id(&lines), id(&transcript(message()).await));
    assert_ne!(id(&lines), id(&transcript(MailMessage { id: "delivery-2".to_owned(), ..message() }).await));
}

#[tokio::test]
async fn an_answer_names_the_message_that_it_answers_to() {
    let first = transcript(message()).await;
    let id = first.iter().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap();
    let answer =
        MailMessage { id: "delivery-2".to_owned(), in_reply_to: Some("delivery-1".to_owned()), ..message() };
    let lines = transcript(answer).await;
    for header in ["In-Reply-To", "References"] {
        assert!(lines.contains(&format!("{header}: {id}")), "{header}: {id} in {lines:#?}");
    }
}

#[tokio::test]
async fn without_html_the_text_stands_alone() {
    let lines = transcript(MailMessage { html: None, ..message() }).await;
    assert!(!lines.iter().any(|line| line.contains("multipart")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("Content-Type: text/plain")), "{lines:#?}");
}

#[tokio::test]
async fn nothing_that_a_plugin_writes_becomes_a_header_or_a_recipient() {
    let mailer = mailer(config("127.0.0.1:1".parse().unwrap()));
    let to = |text: &str| MailMessage { to: vec![text.to_owned()], ..message() };
    let invalid = [
        to("ops@example.org\r\nBcc: spy@example.net"),
        to("ops@example.org, spy@example.net"),
        to("ops"),
        to("\"a\nb\" <ops@example.org>"),
        MailMessage { to: Vec::new(), ..message() },
        MailMessage { to: vec!["a@example.org".to_owned(); 51], ..message() },
        MailMessage { subject: "x\r\nBcc: spy@example.net".to_owned(), ..message() },
        MailMessage { from: Some("a@example.com\nX: y".to_owned()), ..message() },
        MailMessage { text: "x".repeat(2 << 20), ..message() },
    ];
    for message in invalid {
        let answer = sent(&mailer, message.clone()).await;
        assert!(matches!(answer, Err(MailError::Invalid(_))), "{:?}: {answer:?}", message.to);
    }
}

#[tokio::test]
async fn only_granted_recipients_and_senders_of_the_own_domain_are_used() {
    let mailer = mailer(config("127.0.0.1:1".parse().unwrap()));
    let to = vec!["ops@example.org".to_owned(), "Spy <spy@example.net>".to_owned()];
    let text =
        "mail to spy@example.net is not granted; to allow it, add to [grants]: mail = [\"spy@example.net\"]";
    let denied = sent(&mailer, MailMessage { to, ..message() }).await;
    assert_eq!(denied, Err(MailError::Denied(text.to_owned())));
    let from = Some("ceo@example.net".to_owned());
    assert!(matches!(sent(&mailer, MailMessage { from, ..message() }).await, Err(MailError::Denied(_))));
    let lines =
        transcript(MailMessage { from: Some("Night Shift <night@EXAMPLE.com>".to_owned()), ..message() })
            .await;
    assert!(lines.iter().any(|line| line.starts_with("MAIL FROM:<night@EXAMPLE.com>")), "{lines:#?}");
}

#[tokio::test]
async fn the_servers_answers_are_told_apart() {
    let rejected = against(&[("RCPT", "550 5.1.1 no such user")]).await;
    let text = "the mail server refused the message: permanent error (550): 5.1.1 no such user";
    let each = format!("ops@example.org: {text}; dev@example.org: {text}");
    assert_eq!(rejected, Err(MailError::Rejected(each)));
    for script in
        [&[(".", "451 try later")], &[("MAIL", "530 5.7.0 log in first")], &[("EHLO", "421 closing")]]
    {
        let answer = against(script).await;
        assert!(matches!(answer, Err(MailError::Unavailable(_))), "{script:?}: {answer:?}");
    }
    let nobody = mailer(config("127.0.0.1:1".parse().unwrap()));
    assert!(matches!(sent(&nobody, message()).await, Err(MailError::Unavailable(_))));
}

/// A recipient would be refused for good, and the host's dead letters would blame the wrong one.
#[tokio::test]
async fn what_is_refused_of_the_host_is_no_fault_of_a_recipient() {
    for (script, said, advice) in [
        (
            &[("EHLO", "550 5.7.1 [127.0.0.1]: who are you")],
            "EHLO: permanent error (550): 5.7.1 [127.0.0.1]",
            "`mail.ehlo`",
        ),
        (
            &[("AUTH", "554 5.7.0 not from there")],
            "AUTH: permanent error (554): 5.7.0 not from there",
            "`mail.username`",
        ),
        (
            &[("MAIL", "553 5.7.1 not as that")],
            "MAIL FROM: permanent error (553): 5.7.1 not as that",
            "`mail.from`",
        ),
    ] {
        for to in [vec!["ops@example.org".to_owned()], message().to] {
            let (address, mut lines) = server(script).await;
            let (config, _password) = with_login(config(address));
            let answer = sent(&mailer(config), MailMessage { to, ..message() }).await;
            let Err(MailError::Unavailable(text)) = answer else { panic!("{script:?}: {answer:?}") };
            assert!(text.starts_with(&format!("the mail relay refuses this host: {said}")), "{text}");
            assert!(text.contains(advice), "{text}");
            let asked = std::iter::from_fn(|| lines.try_recv().ok()).filter(|line| line.starts_with("EHLO"));
            assert_eq!(asked.count(), 2, "once to send, and once to ask, whatever the number of recipients");
        }
    }
}

#[tokio::test]
async fn the_host_introduces_itself_as_the_operator_says() {
    for (ehlo, said) in [
        (None, "EHLO [127.0.0.1]"),
        (Some("alerts.example.com"), "EHLO alerts.example.com"),
        (Some("[192.0.2.7]"), "EHLO [192.0.2.7]"),
    ] {
        let (address, mut lines) = server(ACCEPTS).await;
        let config = MailConfig { ehlo: ehlo.map(str::to_owned), ..config(address) };
        assert!(sent(&mailer(config), message()).await.is_ok());
        assert_eq!(lines.recv().await.as_deref(), Some(said));
    }
}

/// The configuration with a user and a password, and the file that holds it.
fn with_login(config: MailConfig) -> (MailConfig, tempfile::NamedTempFile) {
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&password, "pa55word\n").unwrap();
    let (username, password_file) = (Some("campanile".to_owned()), Some(password.path().into()));
    (MailConfig { username, password_file, ..config }, password)
}

#[tokio::test]
async fn who_is_refused_keeps_the_message_from_nobody_else() {
    let answer = against(&[("RCPT TO:<dev@", "550 5.1.1 no such user")]).await.unwrap();
    assert!(answer.starts_with("250 2.0.0 queued as 17 for ops@example.org; not for dev@"), "{answer}");
}

#[tokio::test]
async fn a_repeat_goes_to_those_alone_who_do_not_have_it() {
    let (address, mut lines) = server(&[("RCPT TO:<dev@", "451 4.2.1 later")]).await;
    let mailer = mailer(config(address));
    let Err(MailError::Unavailable(text)) = sent(&mailer, message()).await else { panic!("dev has nothing") };
    assert!(text.starts_with("ops@example.org have it, others do not: dev@example.org: "), "{text}");
    while lines.try_recv().is_ok() {}
    let other = MailMessage { text: "another plugin's".to_owned(), ..message() };
    assert!(sent(&mailer, other).await.is_err());
    let theirs: Vec<String> = std::iter::from_fn(|| lines.try_recv().ok()).collect();
    assert!(theirs.iter().any(|line| line.starts_with("RCPT TO:<ops@")), "by the same id, and not the same");
    assert!(matches!(sent(&mailer, message()).await, Err(MailError::Unavailable(_))));
    let again: Vec<String> = std::iter::from_fn(|| lines.try_recv().ok()).collect();
    assert!(again.iter().any(|line| line.starts_with("RCPT TO:<dev@")), "{again:?}");
    assert!(!again.iter().any(|line| line.starts_with("RCPT TO:<ops@")), "{again:?}");
}

#[tokio::test]
async fn a_refused_login_is_worth_a_retry_and_says_no_password() {
    let (address, mut lines) = server(&[("AUTH", "535 5.7.8 bad credentials")]).await;
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&password, "pa55word\n").unwrap();
    let mut config = config(address);
    config.username = Some("campanile".to_owned());
    config.password_file = Some(password.path().into());
    let mailer = mailer(config);
    let Err(MailError::Unavailable(text)) = sent(&mailer, message()).await else {
        panic!("the login was refused")
    };
    let said = "the mail server refused the login: permanent error (535): 5.7.8 bad credentials";
    assert!(text.starts_with(said) && !text.contains("pa55word"), "{text}");
    assert!(text.ends_with("check `mail.username` and its password"), "{text}");
    assert!(!format!("{mailer:?}").contains("pa55word"));
    let mut login = lines.recv().await.unwrap();
    while !login.starts_with("AUTH PLAIN ") {
        login = lines.recv().await.unwrap();
    }
    use base64::Engine as _;
    assert_eq!(
        login["AUTH PLAIN ".len()..],
        base64::engine::general_purpose::STANDARD.encode("\0campanile\0pa55word")
    );
}

/// A server may repeat the login, or a secret that it was sent.
#[tokio::test]
async fn a_mail_servers_answers_are_searched_for_secrets() {
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&password, "a-long-password\n").unwrap();
    for (script, is_sent) in [
        (&[(".", "250 queued AGNhbXBhbmlsZQBhLWxvbmctcGFzc3dvcmQ=")], true),
        (&[(".", "554 not by a-long-password")], false),
        (&[("RCPT", "550 5.1.1 a%2Dlong%2Dpassword")], false),
        (&[("AUTH", "535 5.7.8 A-LONG-PASSWORD is wrong")], false),
        (&[("EHLO", "421 612d6c6f6e672d70617373776f7264")], false),
    ] {
        let (address, _lines) = server(script).await;
        let mut config = config(address);
        config.username = Some("campanile".to_owned());
        config.password_file = Some(password.path().into());
        let setup = MailSetup::read(config).unwrap_or_else(|faults| panic!("{faults:?}"));
        let secrets = Secrets::default().and_credentials(setup.credential());
        let mailer = Mailer::new(setup);
        let scrubber = secrets.scrubber(&Grants::none(), Some(mailer.host()));
        let deadline = Instant::now() + Duration::from_secs(5);
        let sent = mailer.send(&grants(), &scrubber, message(), deadline).await;
        assert_eq!(sent.is_ok(), is_sent, "{sent:?}");
        let said = format!("{sent:?}");
        assert!(said.contains("[secret]") && !said.to_lowercase().contains("long"), "{script:?}: {said}");
    }
}

#[tokio::test]
async fn a_silent_server_does_not_outlast_the_deadline() {
    let (address, _lines) = server(&[(".", "silence")]).await;
    let mailer = mailer(config(address));
    let deadline = Instant::now() + Duration::from_millis(200);
    let answer = mailer.send(&grants(), &Scrubber::default(), message(), deadline).await;
    assert!(matches!(answer, Err(MailError::Unavailable(_))), "{answer:?}");
    assert!(Instant::now() < deadline + Duration::from_secs(2));
}

#[tokio::test]
async fn without_starttls_nothing_is_sent() {
    let (address, mut lines) = server(ACCEPTS).await;
    let mut config = config(address);
    config.tls = MailTls::Starttls;
    let answer = sent(&mailer(config), message()).await;
    assert!(matches!(answer, Err(MailError::Unavailable(_))), "{answer:?}");
    assert!(lines.recv().await.unwrap().starts_with("EHLO"));
    assert!(!matches!(lines.try_recv(), Ok(line) if line.starts_with("MAIL") || line.starts_with("AUTH")));
}

#[tokio::test]
async fn all_faults_of_the_table_are_listed() {
    let table = r#"
        host = "smtp example"
        from = "nobody"
        ehlo = "my host"
        timeout = "0s"
        username = "u"
        password-file = "/nonexistent/password"
    "#;
    let faults = MailSetup::read(toml::from_str(table).unwrap()).err().unwrap();
    let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["mail.timeout", "mail.from", "mail.ehlo", "mail.password-file", "mail.host"]);
    let clear =
        "host = \"smtp.example.com\"\ntls = \"none\"\nfrom = \"a@example.com\"\npassword-env = \"PATH\"";
    let faults = MailSetup::read(toml::from_str(clear).unwrap()).err().unwrap();
    let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["mail.username", "mail.tls"]);
    let allowed =
        "host = \"smtp.example.com\"\ntls = \"none\"\nfrom = \"a@example.com\"\nallow-plaintext = true";
    assert!(MailSetup::read(toml::from_str(allowed).unwrap()).is_ok());
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&password, "a-long-password \n").unwrap();
    let spaced = format!("{allowed}\nusername = \" u\"\npassword-file = {:?}", password.path());
    let faults = MailSetup::read(toml::from_str(&spaced).unwrap()).err().unwrap();
    let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["mail.username", "mail.password-file"]);
}

#[test]
fn another_encryption_is_told_with_those_that_there_are() {
    let table = "host = \"smtp.example.com\"\nfrom = \"a@example.com\"\ntls = \"ssl\"";
    let faults = crate::toml_file::read::<MailConfig>(table).unwrap_err();
    assert_eq!(faults[0].path, "tls");
    assert!(
        faults[0].message.starts_with("\"ssl\" is not one of starttls, tls, none"),
        "{}",
        faults[0].message
    );
}
