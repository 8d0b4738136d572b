//! A real SMTP server in a process of its own: aiosmtpd from PyPI, with STARTTLS by a certificate authority made for the
//! occasion, and AUTH, both required.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;
use tempfile::TempDir;

use crate::log::Log;
use crate::process::Process;
use crate::project;
use crate::tools::python_package;

/// Who may send.
pub const USER: &str = "campanile";
/// With what.
pub const PASSWORD: &str = "correct horse battery staple";

/// The server. It ends when this is dropped.
pub struct Smtp {
    port: u16,
    lines: Log,
    directory: TempDir,
    _process: Process,
}

impl Smtp {
    /// Starts one on a free port, for the name `localhost`.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        certify(&directory);
        let mut lines = None;
        let process = Process::start(server(&directory), |child| {
            lines = child.stdout.take().map(Log::follow);
            // The server ends when its standard input does: the pipe lives as long as the tests.
            std::mem::forget(child.stdin.take());
        });
        let lines = lines.expect("the server's output is a pipe");
        let port = lines.wait_for("the SMTP server's port", Value::is_number).await;
        let port = port.as_u64().and_then(|port| port.try_into().ok()).expect("a port is 16 bits");
        Self { port, lines, directory, _process: process.expect("python3 is installed") }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority to trust, a PEM file.
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The messages it accepted so far.
    pub fn messages(&self) -> Vec<Value> {
        self.lines.events().into_iter().filter(|line| line["data"].is_string()).collect()
    }

    /// The first message to this address, once it has come; panics past the usual patience.
    pub async fn message_to(&self, address: &str) -> Value {
        let to = |line: &Value| line["to"].as_array().is_some_and(|to| to.iter().any(|one| one == address));
        self.lines.wait_for("an e-mail", to).await
    }
}

fn server(directory: &TempDir) -> Command {
    let mut command = Command::new("python3");
    command
        .arg(project::root().join("tests/harness/smtp_server.py"))
        .args([directory.path().join("server.pem"), directory.path().join("server.key")])
        .args([USER, PASSWORD])
        .env("PYTHONPATH", python_package("aiosmtpd==1.4.6"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// Writes `ca.pem`, and `server.pem` with `server.key` for `localhost`.
fn certify(directory: &TempDir) {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(authority, key()).expect("a self-signed certificate");
    let server_key = key();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let server = CertificateParams::new(names).expect("valid names");
    let certificate = server.signed_by(&server_key, &issuer).expect("a signed certificate");
    let write = |name: &str, text: String| {
        std::fs::write(directory.path().join(name), text).expect("the directory is writable");
    };
    write("ca.pem", issuer.pem());
    write("server.pem", certificate.pem());
    write("server.key", server_key.serialize_pem());
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key pair")
}
