//! Where the host listens: a TCP address or a socket file.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::peer::Peer;

/// What stands before the path of a socket file.
const UNIX: &str = "unix:";

/// Where to listen: `127.0.0.1:8000` or `unix:/run/campanile.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Listen {
    /// An address; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A socket file; whoever may open it may connect.
    Unix(PathBuf),
}

impl Listen {
    /// Whether nobody outside this machine can connect.
    pub fn is_local(&self) -> bool {
        match self {
            Listen::Tcp(address) => address.ip().is_loopback(),
            Listen::Unix(_) => true,
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(UNIX) {
            Some(path) if !path.is_empty() => Ok(Listen::Unix(path.into())),
            _ => text.parse().map(Listen::Tcp).map_err(|_| {
                format!(
                    "{text:?} is not where one can listen, such as 127.0.0.1:8000 or unix:/run/campanile.sock"
                )
            }),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// Either kind of connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A bound listener.
pub struct Door {
    listener: Listener,
    listen: Listen,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Door {
    /// Binds.
    ///
    /// # Errors
    ///
    /// Somebody listens there already, or the place cannot be used.
    pub async fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                let listen = Listen::Tcp(listener.local_addr()?);
                Ok(Self { listener: Listener::Tcp(listener), listen })
            }
            Listen::Unix(path) => {
                remove_left_over(path).await?;
                Ok(Self { listener: Listener::Unix(UnixListener::bind(path)?), listen: listen.clone() })
            }
        }
    }

    /// Where it is bound, with the port that it got.
    pub fn address(&self) -> &Listen {
        &self.listen
    }

    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        match &self.listener {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), Peer::Tcp(address)))
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), Peer::Unix))
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Listen::Unix(path) = &self.listen {
            // Another one may have taken its place.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A socket file that nobody listens on was left by a process that was killed. Nothing else is removed.
async fn remove_left_over(path: &Path) -> io::Result<()> {
    let is_socket = |path| std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if !is_socket(path) {
        return Ok(());
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(_) => Ok(()),
    }
}
