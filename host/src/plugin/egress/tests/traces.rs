//! What a plugin sees of an answer beside its bytes must not show what begins a secret: where reads end, in what order, when
//! and how they fail. The same answers are given to two plugins with secrets of their own, by a server in memory that goes on
//! step by step, and both must see the same. In the answers are parts of both secrets, and a whole one where no plugin looks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use tokio::io::duplex;

use super::*;
use crate::plugin::egress::connect::Stream;

/// What the plugin saw, and how much the server had sent by then.
type Trace = Vec<(usize, String)>;

/// How much the server has sent so far, and what the plugin saw.
type Seen = Arc<Mutex<(usize, Trace)>>;

/// What the server sends, step by step; then it closes the connection.
type Script = Vec<Vec<u8>>;

/// A part of a secret, in one of its forms, that is not the whole of any.
fn piece(secret: &str, random: &mut fastrand::Rng) -> Vec<u8> {
    let forms = [
        secret.as_bytes().to_vec(),
        secret.to_uppercase().into_bytes(),
        hex::encode(secret).into_bytes(),
        STANDARD.encode(secret).trim_end_matches('=').as_bytes().to_vec(),
        secret.encode_utf16().flat_map(u16::to_le_bytes).collect(),
    ];
    let form = &forms[random.usize(..forms.len())];
    // The last characters of base64 depend on what follows, so a form lacks them.
    let most = form.len() - 4;
    match random.bool() {
        true => form[..random.usize(1..most)].to_vec(),
        false => form[form.len() - random.usize(1..most)..].to_vec(),
    }
}

/// Text for a header or a trailer.
fn visible(secret: &str, random: &mut fastrand::Rng) -> String {
    let piece = piece(secret, random);
    piece.iter().filter(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte)).collect()
}

fn head(secrets: &[String; 2], random: &mut fastrand::Rng) -> String {
    let mut secret = || secrets[random.usize(..2)].clone();
    let (early, reason, first, second) = (secret(), secret(), secret(), secret());
    let statuses = [200, 200, 200, 201, 401, 404, 500, 206, 416];
    let mut head = String::new();
    if random.bool() {
        head += &format!("HTTP/1.1 103 {reason}\r\nx-early: {early}\r\n\r\n");
    }
    head += &format!("HTTP/1.1 {} {reason}\r\n", statuses[random.usize(..statuses.len())]);
    head += &format!("x-one: {}\r\nx-two: {}|\r\n", visible(&first, random), visible(&second, random));
    let more = [
        "",
        "",
        "",
        "content-encoding: gzip\r\n",
        "accept-ranges: bytes\r\n",
        "content-range: bytes 1-2/9\r\n",
    ];
    head + more[random.usize(..more.len())]
}

/// An answer in random parts, as a server would write it that tries to learn something.
fn script(secrets: &[String; 2], random: &mut fastrand::Rng) -> Script {
    let head = head(secrets, random);
    let mut parts: Script = Vec::new();
    for _ in 0..random.usize(..8) {
        let secret = &secrets[random.usize(..2)];
        // What is between two pieces is part of no form.
        let part = [piece(secret, random), b"|".to_vec()].concat();
        let cut = random.usize(..part.len());
        parts.extend([part[..cut].to_vec(), part[cut..].to_vec()]);
    }
    parts.retain(|part| !part.is_empty());
    let end = match random.u8(..3) {
        0 => "\r\n".to_owned(),
        1 => format!("content-length: {}\r\n\r\n", parts.concat().len() + random.usize(..2)),
        _ => {
            for part in &mut parts {
                *part = [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
            }
            let trailer = visible(&secrets[random.usize(..2)], random);
            parts.push(format!("0\r\nx-end: {trailer}\r\n\r\n").into_bytes());
            "transfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n".to_owned()
        }
    };
    let head = head + &end;
    let cut = random.usize(..head.len());
    let mut script: Script = vec![head.as_bytes()[..cut].to_vec(), head.as_bytes()[cut..].to_vec()];
    script.extend(parts);
    let kept = if random.u8(..4) == 0 { random.usize(1..script.len()) } else { script.len() };
    script.truncate(kept);
    script
}

/// What a plugin sees of an answer, while the server goes on whenever nothing is left to do.
async fn trace(script: &Script, secret: &str) -> Trace {
    let (near, mut far) = duplex(1 << 20);
    let seen: Seen = Arc::default();
    let plugin = tokio::spawn(read(Box::new(near), secret.to_owned(), seen.clone()));
    for part in script {
        settle().await;
        // A client that has gone takes no more.
        _ = far.write_all(part).await;
        seen.lock().0 += part.len();
    }
    settle().await;
    seen.lock().0 += 1;
    drop(far);
    plugin.await.unwrap();
    std::mem::take(&mut seen.lock().1)
}

/// Lets the plugin and the connection do all that they can.
async fn settle() {
    for _ in 0..30 {
        tokio::task::yield_now().await;
    }
}

async fn read(stream: Box<dyn Stream>, secret: String, seen: Seen) {
    let see = |text: String| {
        let mut seen = seen.lock();
        let sent = seen.0;
        seen.1.push((sent, text));
    };
    let address: SocketAddr = "127.0.0.1:80".parse().unwrap();
    let egress = egress(everything(address), token(&secret), "");
    let journal = Arc::new(egress.journal("a".into()));
    let scrubber = egress.scrubber(Some(&Host::Ipv4([127, 0, 0, 1].into())));
    let entry = Entry::new(journal.clone(), "GET http://127.0.0.1/", Default::default(), scrubber);
    let long = Duration::from_secs(60);
    let times =
        Times { deadline: Instant::now() + long, connect: long, first_byte: long, between_bytes: long };
    let place = egress.places.clone().acquire_owned().await.unwrap();
    let (head, ()) = Request::get("http://127.0.0.1/").body(()).unwrap().into_parts();
    let outgoing = Outgoing::prepare(head, &egress.grants, &egress.secrets.current()).unwrap();
    let exchange = Exchange { bounds: &egress.bounds, times, entry: &entry };
    match exchange.run(stream, place, outgoing.into_request(Bytes::new()).unwrap()).await {
        Err(failure) => see(format!("{:?}", entry.fail(failure))),
        Ok(response) => {
            let (head, mut body) = response.into_parts();
            see(format!("{} {:?} {}", head.status, head.headers, head.extensions.len()));
            while let Some(frame) = body.frame().await {
                see(format!("{frame:?}"));
            }
            see("end".to_owned());
        }
    }
    see(journal.failures().join("\n"));
}

fn secret_of(random: &mut fastrand::Rng) -> String {
    (0..24).map(|_| random.alphanumeric()).collect()
}

#[test]
fn what_a_plugin_sees_does_not_depend_on_the_secret() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let first = secret_of(&mut random);
        // Often the same but for its end.
        let alike = if random.bool() { random.usize(..20) } else { 0 };
        let second = first[..alike].to_owned() + &secret_of(&mut random)[alike..];
        let secrets = [first, second];
        let script = script(&secrets, &mut random);
        let [one, other] = secrets.each_ref().map(|secret| runtime.block_on(trace(&script, secret)));
        let shown =
            || script.iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect::<Vec<_>>();
        assert_eq!(one, other, "seed {seed}, secrets {secrets:?}, server {:#?}", shown());
    }
}

/// The comparison above would hold of plugins that see nothing.
#[tokio::test]
async fn a_whole_body_is_seen_once_it_is_whole() {
    let script = ["HTTP/1.1 200 OK\r\n\r\n", "one (hush-hush", "-hush) two (hush-hush"];
    let script: Script = script.map(|part| part.as_bytes().to_vec()).to_vec();
    let [head, body, end, failures] = &*trace(&script, "hush-hush-hush").await else { panic!("four events") };
    assert_eq!((head.0, end.1.as_str(), failures.1.as_str()), (19, "end", ""));
    assert_eq!(body.0, script.concat().len() + 1, "it was sent, and then the connection was closed");
    assert!(body.1.contains("one ([secret]) two (hush-hush"), "{body:?}");
}
