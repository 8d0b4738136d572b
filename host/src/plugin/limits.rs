//! What one plugin may use up: as operators write it, as calls apply it, and the meter that counts its memory.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wasmtime::ResourceLimiter;

use super::Role;
use crate::fault::Fault;
use crate::plan::MOST_RECEIVERS;

/// The most memory that can be granted to a call, in bytes: what a slot of the pool can hold.
pub(super) const MOST_MEMORY: u64 = 1 << 30;
/// The least memory that can be set, in bytes, and what memory is given in: a page.
pub(super) const PAGE: u64 = 64 << 10;
/// The fewest different inputs that open a plugin's circuit breaker.
const FEWEST_FAILURES: u32 = 3;
/// The longest deadline that can be granted.
const LONGEST_DEADLINE: Duration = Duration::from_secs(600);
/// The most calls of one plugin at once that can be granted.
const MOST_CONCURRENCY: u32 = 1_000;
/// The most that can be granted of requests and mails per call, of headers per response and of connections at once.
const MOST_REQUESTS: u32 = 1_000;
const MOST_MAILS: u32 = 1_000;
const MOST_HEADERS: u32 = 10_000;
const MOST_CONNECTIONS: u32 = 1_000;
/// The largest body that can be granted, in bytes.
const LARGEST_BODY: u64 = 64 << 20;
/// The largest head of a request that can be granted, in bytes.
const LARGEST_REQUEST_HEAD: u64 = 1 << 20;
/// The range of what one host call may carry, in bytes: the smallest is what an ordinary answer needs.
const SMALLEST_HOST_CALL: u64 = 64 << 10;
const LARGEST_HOST_CALL: u64 = 64 << 20;
/// The range of handles held at once: a toolchain's start-up code needs some.
const FEWEST_HANDLES: u32 = 16;
const MOST_HANDLES: u32 = 100_000;
/// The range of random bytes at once: hash maps are seeded with the smallest.
const LEAST_RANDOM: u64 = 64;
const MOST_RANDOM: u64 = 64 << 20;
/// The range of a response's head, in bytes: the HTTP client reads in steps of the smallest.
const SMALLEST_HEAD: u64 = 8 << 10;
const LARGEST_HEAD: u64 = 1 << 20;
/// What one table entry costs the host, in bytes.
const TABLE_ENTRY: usize = size_of::<usize>();

/// Limits as an operator sets them; what is absent keeps its default. In the host's configuration they are the
/// defaults of all plugins, in a plugin's own file they are for that plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Limits {
    /// The memory of one call, over all its memories and tables together, such as `128MiB` (the default).
    pub memory: Option<ByteSize>,
    /// How long one call may take, such as `15s`, the default of notifiers and status updaters; that of processors
    /// is `1s`, that of sources `5s`.
    #[serde(default, with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional")]
    #[schemars(with = "Option<String>")]
    pub deadline: Option<Duration>,
    /// How many calls may run at once; 8 if absent.
    pub concurrency: Option<u32>,
    /// How large an answer may be, such as `1MiB` (the default).
    pub result: Option<ByteSize>,
    /// How much the plugin may pass to one function of the host, or back as its answer before that is looked at, such
    /// as `4MiB` (the default).
    pub host_call: Option<ByteSize>,
    /// How many handles (streams, requests, sets of headers) one call may hold at once; 1,000 if absent.
    pub handles: Option<u32>,
    /// How many random bytes it may ask for at once, such as `64KiB` (the default).
    pub random: Option<ByteSize>,
    /// How much one call may log, such as `64KiB` (the default); the rest is counted and dropped.
    pub log: Option<ByteSize>,
    /// How many lines one call may log; 500 if absent.
    pub log_lines: Option<u32>,
    /// On how many different inputs in a row it has to fail (crashes, limits that were hit, unusable answers) to be left alone
    /// for a while; 5 if absent, at least 3, 0 is never.
    pub quarantine_after: Option<u32>,
    /// How many HTTP requests one call may send; 10 if absent.
    pub requests: Option<u32>,
    /// How many mails one call may send, each to up to 50 recipients; 10 if absent.
    pub mails: Option<u32>,
    /// How large the headers of a request may be together, such as `32KiB` (the default).
    pub request_head: Option<ByteSize>,
    /// How large the body of a request may be, such as `1MiB` (the default).
    pub request_body: Option<ByteSize>,
    /// How large the body of a response may be, such as `4MiB` (the default).
    pub response_body: Option<ByteSize>,
    /// How large the head of a response may be, such as `64KiB` (the default).
    pub response_head: Option<ByteSize>,
    /// How many headers a response may have; 100 if absent.
    pub response_headers: Option<u32>,
    /// How many connections may be open at once, over all calls of the plugin; 8 if absent. What is above waits.
    pub connections: Option<u32>,
    /// How many receivers one alert may have, fallbacks counted: 32 if absent, which is also the most. Of the host alone.
    pub receivers: Option<u32>,
}

/// Limits as calls apply them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub memory: u64,
    pub deadline: Duration,
    pub concurrency: u32,
    pub result: u64,
    pub host_call: u64,
    pub handles: u32,
    pub random: u64,
    pub log: u64,
    pub log_lines: u32,
    pub quarantine_after: u32,
    pub mails: u32,
    pub http: HttpBounds,
}

/// The limits of requests as calls apply them. Each is named in a message as it is in `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HttpBounds {
    pub requests: u32,
    pub request_head: u64,
    pub request_body: u64,
    pub response_body: u64,
    pub response_head: u64,
    pub response_headers: u32,
    pub connections: u32,
}

impl Limits {
    /// These limits, with those of `wider` where these say nothing, and the defaults of `role` where both do.
    pub(super) fn over(&self, wider: &Limits, role: Role) -> Bounds {
        let size = |own: Option<ByteSize>, wider: Option<ByteSize>, default| {
            own.or(wider).map_or(default, |size| size.0)
        };
        Bounds {
            memory: size(self.memory, wider.memory, 128 << 20),
            deadline: self.deadline.or(wider.deadline).unwrap_or(default_deadline(role)),
            concurrency: self.concurrency.or(wider.concurrency).unwrap_or(8),
            result: size(self.result, wider.result, default_result(role)),
            host_call: size(self.host_call, wider.host_call, 4 * default_result(role)),
            handles: self.handles.or(wider.handles).unwrap_or(1_000),
            random: size(self.random, wider.random, 64 << 10),
            log: size(self.log, wider.log, 64 << 10),
            log_lines: self.log_lines.or(wider.log_lines).unwrap_or(500),
            quarantine_after: self.quarantine_after.or(wider.quarantine_after).unwrap_or(5),
            mails: self.mails.or(wider.mails).unwrap_or(10),
            http: HttpBounds {
                requests: self.requests.or(wider.requests).unwrap_or(10),
                request_head: size(self.request_head, wider.request_head, 32 << 10),
                request_body: size(self.request_body, wider.request_body, 1 << 20),
                response_body: size(self.response_body, wider.response_body, 4 << 20),
                response_head: size(self.response_head, wider.response_head, 64 << 10),
                response_headers: self.response_headers.or(wider.response_headers).unwrap_or(100),
                connections: self.connections.or(wider.connections).unwrap_or(8),
            },
        }
    }
}

impl Limits {
    /// What is wrong with them; `path` says where they are set, such as `limits`.
    pub fn faults(&self, path: &str) -> Vec<Fault> {
        let mut faults = self.over(&Limits::default(), Role::Notifier).faults(path);
        let receivers = self.receivers.and_then(|receivers| out_of(receivers, 1, MOST_RECEIVERS as u32));
        let path = format!("{path}.receivers");
        faults.extend(receivers.map(|message| Fault { path, value: None, message }));
        faults
    }
}

impl Bounds {
    /// What is wrong with them for a plugin whose memory begins with `least` bytes. `is_own` says whether its own file
    /// sets the memory.
    pub(super) fn too_little(&self, least: u64, is_own: bool) -> Option<Fault> {
        let (own, least) = (ByteSize(self.memory), ByteSize(least.next_multiple_of(PAGE)));
        let whose = if is_own { "" } else { ", which [limits] of the host's configuration sets," };
        let message = format!(
            "{own}{whose} is less than the {least} that the plugin begins with: set at least memory = \"{least}\""
        );
        (own < least).then(|| Fault { path: "limits.memory".to_owned(), value: None, message })
    }

    /// What is wrong with them; `path` says where they are set, such as `limits`.
    fn faults(&self, path: &str) -> Vec<Fault> {
        let http = &self.http;
        let deadline = match self.deadline {
            deadline if deadline.is_zero() => Some("must be longer than 0s".to_owned()),
            deadline if deadline > LONGEST_DEADLINE => {
                Some(format!("{deadline:?} is longer than {LONGEST_DEADLINE:?}"))
            }
            _ => None,
        };
        let numbers = [
            ("concurrency", self.concurrency, 1, MOST_CONCURRENCY),
            ("handles", self.handles, FEWEST_HANDLES, MOST_HANDLES),
            ("requests", http.requests, 0, MOST_REQUESTS),
            ("mails", self.mails, 0, MOST_MAILS),
            ("response-headers", http.response_headers, 1, MOST_HEADERS),
            ("connections", http.connections, 1, MOST_CONNECTIONS),
        ];
        let quarantine_after = (1..FEWEST_FAILURES).contains(&self.quarantine_after).then(|| {
            format!("{} is less than {FEWEST_FAILURES}, and not 0, which is never", self.quarantine_after)
        });
        let sizes = [
            ("memory", self.memory, PAGE, MOST_MEMORY),
            ("host-call", self.host_call, SMALLEST_HOST_CALL, LARGEST_HOST_CALL),
            ("random", self.random, LEAST_RANDOM, MOST_RANDOM),
            ("request-head", http.request_head, 0, LARGEST_REQUEST_HEAD),
            ("request-body", http.request_body, 0, LARGEST_BODY),
            ("response-body", http.response_body, 0, LARGEST_BODY),
            ("response-head", http.response_head, SMALLEST_HEAD, LARGEST_HEAD),
        ];
        let numbers = numbers.map(|(key, value, least, most)| (key, out_of(value, least, most)));
        let sizes = sizes
            .map(|(key, value, least, most)| (key, out_of(ByteSize(value), ByteSize(least), ByteSize(most))));
        let others = [("deadline", deadline), ("quarantine-after", quarantine_after)];
        let all = others.into_iter().chain(numbers).chain(sizes);
        let fault = |(key, message): (&str, Option<String>)| {
            Some(Fault { path: format!("{path}.{key}"), value: None, message: message? })
        };
        all.filter_map(fault).collect()
    }
}

/// What is wrong with a value that is outside its range.
fn out_of<T: PartialOrd + fmt::Display>(value: T, least: T, most: T) -> Option<String> {
    match value {
        value if value < least => Some(format!("{value} is less than {least}")),
        value if value > most => Some(format!("{value} is more than {most}")),
        _ => None,
    }
}

fn default_deadline(role: Role) -> Duration {
    match role {
        Role::Processor => Duration::from_secs(1),
        // A body may be sixteen times as large as an alert.
        Role::Source => Duration::from_secs(5),
        Role::Notifier | Role::StatusUpdater => Duration::from_secs(15),
    }
}

/// What a source answers is as large as the largest request with many alerts.
fn default_result(role: Role) -> u64 {
    match role {
        Role::Source => 8 << 20,
        Role::Processor | Role::Notifier | Role::StatusUpdater => 1 << 20,
    }
}

/// A number of bytes, written with a unit: `64KiB`, `1MiB`, `512B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

/// The units in ascending order; each is 1,024 of the one before.
const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let power = UNITS.iter().position(|known| *known == unit.trim());
        let bytes = number
            .parse::<u64>()
            .ok()
            .zip(power)
            .and_then(|(number, power)| number.checked_mul(1 << (10 * power)));
        bytes
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a size such as 64KiB (units: {})", UNITS.join(", ")))
    }
}

impl TryFrom<String> for ByteSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let divides = |power: &usize| self.0.is_multiple_of(1 << (10 * power));
        let power = (0..UNITS.len()).rev().find(divides).filter(|_| self.0 > 0).unwrap_or(0);
        write!(f, "{} {}", self.0 >> (10 * power), UNITS[power])
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "examples": ["64KiB", "1MiB"] })
    }
}

/// Counts the memory of one call over all its memories and tables (wasmtime's own limits are per memory), and
/// remembers a refusal, so that the crash that follows can be explained.
#[derive(Debug)]
pub(super) struct MemoryMeter {
    limit: usize,
    used: usize,
    last: usize,
    refused: bool,
}

impl MemoryMeter {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), used: 0, last: 0, refused: false }
    }

    /// The most that it had, in bytes: nothing is given back during a call.
    pub(super) fn used(&self) -> u64 {
        self.used as u64
    }

    /// Whether the guest asked for more than it may have.
    pub(super) fn has_refused(&self) -> bool {
        self.refused
    }

    fn grow(&mut self, bytes: usize) -> bool {
        let wanted = self.used.saturating_add(bytes);
        if wanted > self.limit {
            self.refused = true;
            return false;
        }
        self.used = wanted;
        self.last = bytes;
        true
    }

    /// What was counted was not given after all.
    fn give_back(&mut self) {
        self.used -= std::mem::take(&mut self.last);
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.give_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(TABLE_ENTRY)))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.give_back();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_with_units() {
        for (text, bytes) in
            [("512B", 512), ("64KiB", 65_536), ("1 MiB", 1 << 20), ("2GiB", 2 << 30), ("0B", 0)]
        {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.0, bytes);
            assert_eq!(size.to_string().replace(' ', ""), text.replace(' ', ""));
        }
        for bad in ["", "64", "64kb", "-1MiB", "1.5MiB", "MiB", "99999999999GiB"] {
            assert!(bad.parse::<ByteSize>().unwrap_err().contains("such as 64KiB"), "{bad}");
        }
    }

    #[test]
    fn a_plugins_limits_come_before_the_hosts_and_those_before_the_defaults() {
        let host = Limits { concurrency: Some(3), log_lines: Some(7), ..Limits::default() };
        let own = Limits { concurrency: Some(4), ..Limits::default() };
        let bounds = own.over(&host, Role::Processor);
        assert_eq!((bounds.concurrency, bounds.log_lines, bounds.memory), (4, 7, 128 << 20));
        assert_eq!(bounds.deadline, Duration::from_secs(1));
        assert_eq!(own.over(&host, Role::Notifier).deadline, Duration::from_secs(15));
    }

    #[test]
    fn limits_out_of_range_are_faults() {
        let own = Limits { memory: Some(ByteSize(2 << 30)), concurrency: Some(0), ..Limits::default() };
        let texts: Vec<_> = own.faults("limits").iter().map(Fault::to_string).collect();
        assert_eq!(
            texts,
            ["limits.concurrency: 0 is less than 1", "limits.memory: 2 GiB is more than 1 GiB"]
        );
    }

    #[test]
    fn less_memory_than_a_plugin_begins_with_is_a_fault() {
        let bounds = |memory| {
            let own = Limits { memory: Some(ByteSize(memory)), ..Limits::default() };
            own.over(&Limits::default(), Role::Notifier)
        };
        let said =
            |memory, is_own| bounds(memory).too_little(1_114_113, is_own).map(|fault| fault.to_string());
        let expected = "limits.memory: 64 KiB is less than the 1152 KiB that the plugin begins with: set at least memory = \"1152 KiB\"";
        assert_eq!(said(64 << 10, true).as_deref(), Some(expected));
        assert!(
            said(64 << 10, false)
                .unwrap()
                .contains("64 KiB, which [limits] of the host's configuration sets, is less")
        );
        let named: ByteSize = "1152 KiB".parse().unwrap();
        assert_eq!((said(named.0, true), said(named.0 - 1, true).is_some()), (None, true));
        let any = Limits { memory: Some(ByteSize(1 << 10)), ..Limits::default() }.faults("limits");
        assert_eq!(any[0].to_string(), "limits.memory: 1 KiB is less than 64 KiB");
    }

    #[test]
    fn the_breaker_opens_on_three_inputs_at_least() {
        let faults = |after| Limits { quarantine_after: Some(after), ..Limits::default() }.faults("limits");
        assert_eq!(
            faults(2)[0].to_string(),
            "limits.quarantine-after: 2 is less than 3, and not 0, which is never"
        );
        assert!(faults(0).is_empty() && faults(3).is_empty());
    }

    #[test]
    fn limits_of_requests_have_ranges_too() {
        let own: Limits = toml::from_str(
            "requests = 1001\nmails = 1001\nrequest-body = \"65MiB\"\nresponse-head = \"1KiB\"\nconnections = 0\n\
             response-headers = 50\nresponse-body = \"64MiB\"\nrequest-head = \"2MiB\"",
        )
        .unwrap();
        let texts: Vec<_> = own.faults("limits").iter().map(Fault::to_string).collect();
        let expected = [
            "limits.requests: 1001 is more than 1000",
            "limits.mails: 1001 is more than 1000",
            "limits.connections: 0 is less than 1",
            "limits.request-head: 2 MiB is more than 1 MiB",
            "limits.request-body: 65 MiB is more than 64 MiB",
            "limits.response-head: 1 KiB is less than 8 KiB",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn limits_of_host_calls_have_ranges_too() {
        let own: Limits =
            toml::from_str("host-call = \"1KiB\"\nhandles = 200000\nrandom = \"0B\"\ndeadline = \"11m\"")
                .unwrap();
        let texts: Vec<_> = own.faults("limits").iter().map(Fault::to_string).collect();
        let expected = [
            "limits.deadline: 660s is longer than 600s",
            "limits.handles: 200000 is more than 100000",
            "limits.host-call: 1 KiB is less than 64 KiB",
            "limits.random: 0 B is less than 64 B",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn memory_is_counted_over_all_memories_and_tables() {
        let mut meter = MemoryMeter::new(100 + 10 * TABLE_ENTRY as u64);
        assert!(meter.memory_growing(0, 60, None).unwrap());
        assert!(meter.memory_growing(0, 40, None).unwrap());
        assert!(meter.table_growing(0, 10, None).unwrap());
        assert!(!meter.has_refused());
        assert!(!meter.memory_growing(40, 41, None).unwrap());
        assert!(meter.has_refused());
    }

    #[test]
    fn what_was_counted_but_not_given_is_free_again() {
        let mut meter = MemoryMeter::new(100);
        assert!(meter.memory_growing(0, 100, None).unwrap());
        meter.memory_grow_failed(wasmtime::Error::msg("out of address space")).unwrap();
        assert!(meter.memory_growing(0, 100, None).unwrap());
    }
}
