//! Tells the newcomer where the host listens, once it answers: `up` leaves this behind and turns
//! into the host itself.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::{Pid, test_kill_process};

use crate::command::run;

/// How often the host is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// The alert that a newcomer is invited to send.
const TRY: &str = r#"{"alerts":[{"title":"Hello","description":"The first alert","type":"custom","severity":"low","source":{"name":"README","type":"custom"}}]}"#;

/// The addresses of one run; a port 0 lets the system choose.
#[derive(Args, Clone, Debug)]
pub(crate) struct Places {
    /// Where the webhook listens
    #[arg(long, env = "CAMPANILE_LISTEN", default_value = "127.0.0.1:8000", value_name = "ADDRESS:PORT")]
    pub(crate) listen: SocketAddr,
    /// The port of the webhook alone, on the address of --listen
    #[arg(long, value_name = "PORT")]
    pub(crate) webhook_port: Option<u16>,
    /// The port of the embedded Temporal server
    #[arg(long, env = "CAMPANILE_TEMPORAL_PORT", default_value_t = 7233, value_name = "PORT")]
    pub(crate) temporal_port: u16,
    /// The port of Temporal's web UI
    #[arg(long, env = "CAMPANILE_TEMPORAL_UI_PORT", default_value_t = 8080, value_name = "PORT")]
    pub(crate) ui_port: u16,
}

impl Places {
    /// The webhook's address with the port that was asked for.
    pub(crate) fn webhook(&self) -> SocketAddr {
        SocketAddr::new(self.listen.ip(), self.webhook_port.unwrap_or(self.listen.port()))
    }

    /// Refuses ports that are taken, before minutes of building rather than after.
    pub(crate) fn check_free(&self) -> Result<&'static str> {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        free(self.webhook(), "the webhook", "--webhook-port 8001")?;
        free(local(self.temporal_port), "the Temporal server", "--temporal-port 7234")?;
        free(local(self.ui_port), "Temporal's web UI", "--ui-port 8081")?;
        Ok("free")
    }

    /// Leaves an [`Announcement`] behind for this process, which is about to become the host. The shell's `&` makes it
    /// nobody's child: the host need not know of it.
    pub(crate) fn announce_later(&self) -> Result<()> {
        let program = std::env::current_exe().context("cannot tell where this program lies")?;
        let mut shell = Command::new("sh");
        shell.args(["-c", r#""$0" announce "$@" &"#]).arg(program);
        shell.args(["--host", &std::process::id().to_string(), "--listen", &self.webhook().to_string()]);
        shell.args(["--temporal-port", &self.temporal_port.to_string()]);
        run(shell.args(["--ui-port", &self.ui_port.to_string()]))
    }

    fn text(&self, webhook: SocketAddr, took: Duration) -> String {
        let port = |port: u16, form: fn(u16) -> String| match port {
            0 => "on a free port, see the log".to_owned(),
            port => form(port),
        };
        let temporal = port(self.temporal_port, |port| format!("127.0.0.1:{port}"));
        let ui = port(self.ui_port, |port| format!("http://127.0.0.1:{port}"));
        // Beside this program.
        let program = std::env::current_exe().unwrap_or_default().with_file_name("campanile");
        let program = program.display();
        format!(
            "\nReady after {:.1} s. Ctrl-C stops everything; data stays in .campanile/data.\n\n  \
             webhook   http://{webhook}\n  docs      http://{webhook}/docs\n  \
             temporal  {temporal}\n  web ui    {ui}\n  plugins   .campanile/plugins.d\n  \
             commands  {program}\n\nTry it in another terminal (once there are keys, with -H 'x-api-key: KEY'):\n\n  \
             curl -sS 'http://{webhook}/webhook/alerts/sync' -H 'content-type: application/json' -d '{TRY}'\n\n",
            took.as_secs_f32()
        )
    }
}

/// Tells where the host listens, once it answers.
#[derive(Args)]
pub(crate) struct Announcement {
    /// The host's process
    #[arg(long)]
    host: i32,
    #[command(flatten)]
    places: Places,
}

impl Announcement {
    /// Waits until the host is healthy and prints its addresses. A host that ends before that has said why.
    pub(crate) fn make(&self) -> Result<()> {
        let host = Pid::from_raw(self.host).context("the host's process has no number")?;
        let (start, address) = (Instant::now(), reachable(self.places.webhook()));
        if address.port() == 0 {
            return Ok(()); // The log line `listening` alone knows the port.
        }
        while !healthy(address) {
            std::thread::sleep(ASK_EVERY);
            if test_kill_process(host).is_err() {
                return Ok(());
            }
        }
        let text = self.places.text(address, start.elapsed());
        std::io::stdout().write_all(text.as_bytes()).context("cannot print the addresses")
    }
}

fn free(address: SocketAddr, whose: &str, instead: &str) -> Result<()> {
    if let Err(error) = TcpListener::bind(address) {
        bail!(
            "{address}, meant for {whose}, cannot be used ({error}); another one: cargo xtask up {instead}"
        );
    }
    Ok(())
}

/// The address to ask when the host listens on all of them.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn healthy(address: SocketAddr) -> bool {
    status_line(address).is_ok_and(|line| line.starts_with(b"HTTP/1.1 200"))
}

fn status_line(address: SocketAddr) -> std::io::Result<[u8; 12]> {
    let patience = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    write!(stream, "GET /health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut line = [0; 12];
    stream.read_exact(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_a_way_out() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let places = Places {
            listen: "127.0.0.1:0".parse().unwrap(),
            webhook_port: None,
            temporal_port: port,
            ui_port: 0,
        };
        let error = places.check_free().unwrap_err().to_string();
        assert!(error.starts_with(&format!("127.0.0.1:{port}, meant for the Temporal server")), "{error}");
        assert!(error.ends_with("cargo xtask up --temporal-port 7234"), "{error}");
    }
}
