//! Bodies that are no JSON, say something twice, or are more than they seem.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use super::{BODY, Door, Said, connect, hear, python};

const GZIP: &str = "content-encoding: gzip\r\n";

impl Door {
    /// Each body is answered with this status.
    async fn answers(&self, status: u16, bodies: &[(&str, &str, Vec<u8>)]) {
        let before = self.started().await;
        let mut faults = Vec::new();
        for (what, lines, body) in bodies {
            let said = self.say(&self.posting(lines, body), &status.to_string()).await;
            if said.statuses != [status] {
                faults.push(format!("{what}: {}", said.text));
            }
            self.still_opens(what).await;
        }
        assert!(faults.is_empty(), "not {status}:\n{}", faults.join("\n"));
        let starts = if status == 200 { bodies.len() } else { 0 };
        assert_eq!(self.started().await - before, starts);
    }

    /// The most memory that the host held while it took a first request, whose plugin and workers take some for good.
    async fn usual_peak(&self) -> u64 {
        self.started().await;
        self.still_opens("its start").await;
        self.peak()
    }

    /// The most memory that the host has ever held, in MiB.
    fn peak(&self) -> u64 {
        let file = format!("/proc/{}/status", self.host.process().id());
        let status = std::fs::read_to_string(file).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says so");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB") >> 10
    }
}

/// The body with this in place of its severity.
fn with(severity: &str) -> Vec<u8> {
    BODY.replace(r#""severity":"low""#, severity).into_bytes()
}

/// The body with one more field.
fn and(field: &str) -> Vec<u8> {
    with(&format!(r#""severity":"low",{field}"#))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_is_refused_however_it_is_written() {
    let door = Door::open().await;
    let numbers = ["0x10", "01", "1.", ".5", "+1"];
    let numbers = numbers.map(|number| ("a number", "", and(&format!(r#""metrics":{{"m":{number}}}"#))));
    let texts = [r"\x41", r"\u12"].map(|text| ("a text", "", and(&format!(r#""x":"{text}""#))));
    let mut bodies: Vec<_> = numbers.into_iter().chain(texts).collect();
    let utf16 = |bytes: fn(u16) -> [u8; 2]| BODY.encode_utf16().flat_map(bytes).collect::<Vec<_>>();
    bodies.extend([
        ("UTF-16, little end first", "", utf16(u16::to_le_bytes)),
        ("UTF-16, big end first", "", utf16(u16::to_be_bytes)),
        ("nothing", "", Vec::new()),
        ("two documents", "", BODY.repeat(2).into_bytes()),
        ("NUL behind it", "", [BODY.as_bytes(), b"\0"].concat()),
    ]);
    door.answers(400, &bodies).await;
    let levels = format!(r#""data":{}1{}"#, r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let deep = [("10,000 lists", "", b"[".repeat(10_000)), ("10,000 levels", "", and(&levels))];
    door.answers(413, &deep).await;
    let odd = ["1e-999", "-0", "1e300"];
    let mut taken =
        odd.map(|number| ("a number", "", and(&format!(r#""metrics":{{"m":{number}}}"#)))).to_vec();
    taken.push(("NUL in a text", "", and(r#""x":"\u0000""#)));
    taken.push(("names that mean something elsewhere", "", and(r#""__proto__":{"a":1},"constructor":1"#)));
    taken.push(("a byte order mark", "", [b"\xef\xbb\xbf", BODY.as_bytes()].concat()));
    door.answers(200, &taken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_value_that_json_does_not_have_costs_itself() {
    let door = Door::open().await;
    let large = format!("1{}", "0".repeat(399));
    let numbers = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "18446744073709551616", &large];
    let numbers = numbers.map(|number| ("a number", "", and(&format!(r#""metrics":{{"m":{number}}}"#))));
    let texts = [r"\ud800", r"\udc00\ud800", "\u{1}", "\n"];
    let texts = texts.map(|text| ("a text", "", and(&format!(r#""x":"{text}""#))));
    let door_as = |bytes: &[u8]| [&BODY.as_bytes()[..21], bytes, &BODY.as_bytes()[21..]].concat();
    let mut bodies: Vec<_> = numbers.into_iter().chain(texts).collect();
    bodies.extend([
        ("half a pair in a key", "", and(r#""\ud800":1"#)),
        ("a byte that is no UTF-8", "", door_as(b"\xff")),
        ("an overlong slash", "", door_as(b"\xc0\xaf")),
        ("half a pair in UTF-8", "", door_as(b"\xed\xa0\x80")),
        ("70 levels", "", and(&format!(r#""data":{}1{}"#, r#"{"a":"#.repeat(70), "}".repeat(70)))),
    ]);
    door.answers(200, &bodies).await;
    for (what, _, body) in &bodies {
        let said = door.say(&door.posting("", body), "200").await;
        assert!(said.text.contains(r#""warnings":["alerts[0]."#), "{what}: {}", said.text);
    }
}

/// All who read a request read the one document, in which the last of two counts: there is nobody to be led astray.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_fields_with_one_name_the_last_counts_for_everybody() {
    let door = Door::open().await;
    let twice = |first: &str, second: &str| with(&format!(r#""severity":"{first}","severity":"{second}""#));
    let list =
        |first: &str, last: &str| format!("{{{first}{}{last}}}", &BODY[1..BODY.len() - 1]).into_bytes();
    let refused =
        [("a bad one last", "", twice("low", "urgent")), ("no alerts last", "", list("", r#","alerts":[]"#))];
    door.answers(400, &refused).await;
    let taken = [
        ("a bad one first", "", twice("urgent", "low")),
        ("bad alerts first", "", list(r#""alerts":[7],"#, "")),
    ];
    door.answers(200, &taken).await;
    let written_otherwise =
        BODY.replace(r#""severity":"low""#, r#""severity":"low","sever\u0069ty":"critical""#);
    let said = door.say(&door.posting("", written_otherwise.as_bytes()), "200").await;
    let id = said
        .text
        .split_once("workflow_ids\":[\"")
        .and_then(|(_, rest)| rest.split('"').next())
        .expect("an id");
    let asked = format!("GET /alerts/{id} HTTP/1.1\r\nhost: c\r\nx-api-key: <admin>\r\n\r\n");
    let found = door.say(&door.bytes(&asked), "200").await;
    assert!(
        found.text.contains(r#""severity":"critical""#) && !found.text.contains(r#""severity":"low""#),
        "{}",
        found.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_packed_is_unpacked_once_and_whole() {
    let door = Door::open().await;
    let gzip = python(&format!("import gzip, sys; sys.stdout.buffer.write(gzip.compress(b'''{BODY}'''))"));
    let nested =
        format!("import gzip, sys; sys.stdout.buffer.write(gzip.compress(gzip.compress(b'''{BODY}''')))");
    let nested = python(&nested);
    let more = |behind: &[u8]| [&gzip, behind].concat();
    let cut = |by: usize| gzip[..gzip.len() - by].to_vec();
    door.answers(
        200,
        &[("gzip", GZIP, gzip.clone()), ("in capitals", "content-encoding: GZIP\r\n", gzip.clone())],
    )
    .await;
    let refused = [
        ("cut off", GZIP, cut(20)),
        ("without its end", GZIP, cut(8)),
        ("with another checksum", GZIP, [cut(8), vec![0; 8]].concat()),
        ("with garbage behind it", GZIP, more(b"garbage")),
        ("with zeros behind it", GZIP, more(&[0; 100])),
        ("two of them", GZIP, more(&gzip)),
        ("packed twice", GZIP, nested.clone()),
        ("not packed", GZIP, BODY.as_bytes().to_vec()),
        ("nothing", GZIP, Vec::new()),
        ("not said", "", gzip.clone()),
    ];
    door.answers(400, &refused).await;
    let codings = ["gzip, gzip", "gzip, identity", "deflate", "br", "zstd", "gzipped"];
    let lines = codings.map(|coding| format!("content-encoding: {coding}\r\n"));
    door.answers(415, &lines.each_ref().map(|line| (line.as_str(), line.as_str(), nested.clone()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_is_not_json_is_refused() {
    let door = Door::open().await;
    let typed = |kind: &str| {
        format!("POST /webhook/alerts HTTP/1.1\r\nhost: c\r\n{kind}x-api-key: <post>\r\n<length>\r\n<body>")
    };
    let kinds = ["application/json;", "APPLICATION/JSON", "application/problem+json; charset=utf-8"];
    let texts = kinds.map(|kind| typed(&format!("content-type: {kind}\r\n")));
    door.takes(&texts.each_ref().map(|text| (text.as_str(), text.as_str(), "200"))).await;
    let kinds = [
        "",
        "\u{ff}",
        "text/json",
        "application/jsonx",
        ";application/json",
        "multipart/form-data",
        "application/json, text/plain",
    ];
    let mut texts = kinds.map(|kind| typed(&format!("content-type: {kind}\r\n"))).to_vec();
    texts.push(typed(""));
    let rows: Vec<_> = texts.iter().map(|text| (text.as_str(), text.as_str(), "415")).collect();
    door.refuses(&rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_limit_is_refused_however_it_comes() {
    let door = Door::open().await;
    let before = door.usual_peak().await;
    let endless = async |head: &str, part: &[u8]| -> Said {
        let mut connection = connect(&door.host).await;
        connection.write_all(&door.bytes(head)).await.expect("it reads");
        let (mut reader, mut writer) = connection.split();
        let write = async { while writer.write_all(part).await.is_ok() {} };
        let mut answer = vec![0; 65_536];
        let read = tokio::io::AsyncReadExt::read(&mut reader, &mut answer);
        let said = tokio::select! {
            read = timeout(Duration::from_secs(60), read) => read.expect("an answer in time").expect("an answer"),
            () = write => 0,
        };
        match said {
            0 => hear(&mut connection, "413 closed").await,
            length => {
                let text = String::from_utf8_lossy(&answer[..length]).into_owned();
                Said { statuses: super::statuses(&text), is_closed: true, text }
            }
        }
    };
    let spaces = [b"10000\r\n".as_slice(), &b" ".repeat(0x10000), b"\r\n"].concat();
    for (what, head, part) in [
        ("chunks without end", "<head>transfer-encoding: chunked\r\n\r\n", &spaces),
        ("a length beyond the limit", "<head>content-length: 99999999999\r\n\r\n", &spaces),
    ] {
        let said = endless(head, part).await;
        assert_eq!(said.statuses, [413], "{what}: {}", said.text);
        door.still_opens(what).await;
    }
    // A gigabyte of zeros in a megabyte.
    let bomb = python(
        "import sys, zlib; c = zlib.compressobj(9, zlib.DEFLATED, 31); m = bytes(1 << 20)\n\
         part = lambda: c.compress(m) + c.flush(zlib.Z_FULL_FLUSH)\n\
         first, more = part(), part(); sys.stdout.buffer.write(first + more * 1023 + c.flush())",
    );
    door.answers(413, &[("a gigabyte of zeros", GZIP, bomb)]).await;
    let grown = door.peak().saturating_sub(before);
    assert!(grown < 64, "{grown} MiB more, for bodies of at most 8 MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_says_that_it_is_too_large_is_not_waited_for() {
    let door = Door::open().await;
    let length = "content-length: 99999999\r\n\r\n";
    door.refuses(&[
        ("a length beyond the limit", &format!("<head>{length}"), "413 closed"),
        ("whether to go on", &format!("<head>expect: 100-continue\r\n{length}"), "413 closed"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_faults_cost_no_more_than_a_hundred() {
    let door = Door::open().await;
    let before = door.usual_peak().await;
    let gzip = |program: &str| {
        python(&format!("import gzip, sys; sys.stdout.buffer.write(gzip.compress({program}))"))
    };
    let ones = gzip(r#"b'{"alerts":[' + b'1,' * 1000000 + b'1]}'"#);
    let labels = gzip(
        r#"b'{"alerts":[' + b','.join(b'{"labels":{%s}}' % b','.join(b'"%x":1' % i for i in range(90)) for _ in range(1000)) + b']}'"#,
    );
    let asked = Instant::now();
    door.answers(413, &[("a million ones", GZIP, ones)]).await;
    door.answers(400, &[("90,000 labels", GZIP, labels)]).await;
    let (took, grown) = (asked.elapsed(), door.peak().saturating_sub(before));
    assert!(grown < 160, "{grown} MiB more, in {took:?}");
}
