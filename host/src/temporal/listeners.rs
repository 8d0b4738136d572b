//! Where a child process listens, as Linux shows it in `/proc`: the Temporal server opens more ports than it is asked for, and
//! none of them is for plugins.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::plugin::OffLimits;

/// What these listeners are in messages.
const WHAT: &str = "an inner service of Temporal";
/// How a socket's state is written while it listens.
const LISTENS: &str = "0A";
/// The first pause between two looks; doubled each time, since what a server listens on it opens when it starts.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Puts a process's listeners off limits for plugins, and looks for new ones ever more seldom.
pub(super) struct Listeners<'a> {
    off_limits: &'a OffLimits,
    process: u32,
    next: Instant,
    pause: Duration,
}

impl<'a> Listeners<'a> {
    /// Of the process with this id.
    pub(super) fn of(process: u32, off_limits: &'a OffLimits) -> Self {
        Self { off_limits, process, next: Instant::now(), pause: FIRST_PAUSE }
    }

    /// Looks, if it is time to.
    pub(super) fn look(&mut self) {
        if Instant::now() < self.next {
            return;
        }
        match listeners(self.process) {
            Ok(addresses) => self.off_limits.replace_listeners(WHAT, &addresses),
            Err(error) => tracing::debug!(%error, "the temporal server's listeners cannot be seen"),
        }
        self.next = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

/// The addresses on which a process accepts TCP connections.
fn listeners(process: u32) -> io::Result<Vec<SocketAddr>> {
    let sockets = sockets(process)?;
    let mut addresses = Vec::new();
    for table in ["tcp", "tcp6"] {
        let rows = match fs::read_to_string(format!("/proc/{process}/net/{table}")) {
            // A kernel without IPv6.
            Err(error) if error.kind() == ErrorKind::NotFound && table == "tcp6" => continue,
            rows => rows?,
        };
        let listening = rows.lines().filter_map(listening);
        let own = listening.filter(|(_, inode)| sockets.contains(*inode));
        addresses.extend(own.map(|(address, _)| address));
    }
    Ok(addresses)
}

/// The inodes of a process's sockets.
fn sockets(process: u32) -> io::Result<BTreeSet<String>> {
    let mut sockets = BTreeSet::new();
    for descriptor in fs::read_dir(format!("/proc/{process}/fd"))? {
        // One that was closed in the meantime is not missed.
        let Ok(target) = fs::read_link(descriptor?.path()) else { continue };
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        sockets.extend(inode.map(str::to_owned));
    }
    Ok(sockets)
}

/// The address and the inode of a row of `/proc/PID/net/tcp`, if that socket listens.
fn listening(row: &str) -> Option<(SocketAddr, &str)> {
    let columns: Vec<_> = row.split_whitespace().collect();
    let (address, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
    let (ip, port) = address.split_once(':')?;
    let address = SocketAddr::new(ip_of(ip)?, u16::from_str_radix(port, 16).ok()?);
    (*state == LISTENS).then_some((address, *inode))
}

/// An address as the kernel writes it: words of 32 bits, each a number in this machine's order of bytes.
fn ip_of(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(digits.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let words: Option<Vec<_>> = (0..digits.len()).step_by(8).map(word).collect();
    let bytes = words?.concat();
    let v4 = <[u8; 4]>::try_from(bytes.as_slice()).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from)).ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn listeners_of_a_process_are_found_and_its_connections_are_not() {
        let (v4, v6) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("[::1]:0"));
        let connected = TcpStream::connect(v4.local_addr().unwrap()).unwrap();
        let found = listeners(std::process::id()).unwrap();
        assert!(found.contains(&v4.local_addr().unwrap()), "{found:?}");
        // Where there is IPv6.
        let v6 = v6.ok().map(|listener| listener.local_addr().unwrap());
        assert!(v6.is_none_or(|address| found.contains(&address)), "{found:?}");
        assert!(!found.contains(&connected.local_addr().unwrap()), "{found:?}");
    }
}
