//! Why Temporal did not do what it was asked for: no connection, no answer in time, too much to do, or its own word.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::iter::successors;
use std::time::Duration;

use temporalio_client::tonic::{Code, Status};

/// What kept Temporal from doing what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// Nothing listens at its address.
    #[error("it refused the connection ({0})")]
    Refused(String),
    /// The first attempt to connect is under way.
    #[error("there is no connection to it (none was made yet)")]
    NotYet,
    /// There is no connection for another reason: its name leads nowhere, its certificate is not trusted, the network is down.
    #[error("there is no connection to it ({0})")]
    NotConnected(String),
    /// It took the request, and did not answer.
    #[error("it did not answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// It answered that it was too late.
    #[error("it took too long ({0})")]
    TooLate(String),
    /// It has more to do than it can.
    #[error("it has more to do than it can ({0})")]
    Busy(String),
    /// It answered that it could not.
    #[error("it answered {0}")]
    Unable(String),
}

impl Cause {
    /// What to do about a server that is too slow.
    pub const OVERLOADED: &str =
        "send it again later; give Temporal more of the machine, or raise its limits";

    /// What an error of the client means.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let chain = || successors(Some(error), |&error| error.source());
        if let Some(error) = chain().find_map(|error| error.downcast_ref::<io::Error>()) {
            return match error.kind() {
                ErrorKind::ConnectionRefused => Self::Refused(error.to_string()),
                _ => Self::NotConnected(error.to_string()),
            };
        }
        let deepest = chain().last().map(ToString::to_string).unwrap_or_default();
        match chain().find_map(|error| error.downcast_ref::<Status>()) {
            Some(status) if status.source().is_none() => Self::answered(status),
            Some(_) => Self::NotConnected(deepest),
            None => Self::Unable(error.to_string()),
        }
    }

    /// What the server's own word means.
    fn answered(status: &Status) -> Self {
        let text = word(status);
        match status.code() {
            Code::ResourceExhausted if !is_too_large(status) => Self::Busy(text),
            Code::DeadlineExceeded => Self::TooLate(text),
            _ => Self::Unable(text),
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Refused(_) => {
                "start it, or correct --temporal-address; why the embedded server ended is in the host's log"
            }
            Self::NotYet => "wait a few seconds: the host's log says what came of its first attempt",
            Self::NotConnected(_) => "correct --temporal-address, its name, the network or TLS",
            Self::TimedOut(_) => {
                "it hangs, or a firewall drops what is sent: look at its log, its database and the network"
            }
            Self::Busy(_) => Self::OVERLOADED,
            Self::TooLate(_) | Self::Unable(_) => "look at its log and its database",
        }
    }
}

/// Such as `InvalidArgument: BadSearchAttributes`.
pub(super) fn word(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

/// Whether a message was larger than Temporal takes, which it also calls an exhausted resource.
pub(super) fn is_too_large(status: &Status) -> bool {
    status.code() == Code::ResourceExhausted && status.message().contains("larger than max")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn broken(kind: ErrorKind) -> Cause {
        let mut status = Status::unavailable("error trying to connect");
        status.set_source(Arc::new(io::Error::from(kind)));
        Cause::of(&status)
    }

    #[test]
    fn each_cause_is_told_from_the_others() {
        assert!(matches!(broken(ErrorKind::ConnectionRefused), Cause::Refused(_)));
        assert!(matches!(broken(ErrorKind::ConnectionReset), Cause::NotConnected(_)));
        let slow = Cause::of(&Status::resource_exhausted("namespace rate limit exceeded"));
        assert_eq!(
            slow.to_string(),
            "it has more to do than it can (ResourceExhausted: namespace rate limit exceeded)"
        );
        let large = Cause::of(&Status::resource_exhausted("grpc: received message larger than max"));
        assert!(matches!(large, Cause::Unable(_)), "less load does not help");
        assert_eq!(
            Cause::of(&Status::not_found("namespace x")).to_string(),
            "it answered NotFound: namespace x"
        );
        assert_eq!(
            Cause::TimedOut(Duration::from_millis(1_500)).to_string(),
            "it did not answer within 1500 ms"
        );
    }
}
