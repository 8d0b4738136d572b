//! What all calls of plugins together may take of the host: the table `[calls]` of its configuration.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sysinfo::{MemoryRefreshKind, System};

use super::limits::ByteSize;
use crate::fault::Fault;

/// How many calls one host can be told to run at once: each has address space reserved.
const MOST_CONCURRENCY: u32 = 1_000;
/// The budget of a host whose memory cannot be told, and the least that is taken by itself, in bytes.
const LEAST_MEMORY: u64 = 256 << 20;

/// `[calls]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct CallsConfig {
    /// How many calls run at once, over all plugins. A quarter of the places is kept for plugins that run none.
    #[schemars(range(min = 1, max = 1000))]
    pub concurrency: u32,
    /// What the memory limits of the calls that run at once may add up to, such as `4GiB`; half of the machine's or
    /// container's memory if absent.
    pub memory: Option<ByteSize>,
    /// How long calls of a plugin that was replaced or removed may go on, such as `30s`.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub drain: Duration,
}

impl Default for CallsConfig {
    fn default() -> Self {
        Self { concurrency: 64, memory: None, drain: Duration::from_secs(30) }
    }
}

impl CallsConfig {
    /// The budget in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.memory.map_or_else(half_of_memory, |size| size.0)
    }

    /// What is wrong with it; `path` says where it is set.
    pub fn faults(&self, path: &str) -> Vec<Fault> {
        let fits = (1..=MOST_CONCURRENCY).contains(&self.concurrency);
        let fault = || Fault {
            path: format!("{path}.concurrency"),
            value: None,
            message: format!("{} is not between 1 and {MOST_CONCURRENCY}", self.concurrency),
        };
        (!fits).then(fault).into_iter().collect()
    }
}

fn half_of_memory() -> u64 {
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let contained = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
    (system.total_memory().min(contained) / 2).max(LEAST_MEMORY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_what_is_set_or_half_of_what_there_is() {
        let own = CallsConfig { memory: Some(ByteSize(7)), ..CallsConfig::default() };
        assert_eq!(own.memory(), 7);
        let half = CallsConfig::default().memory();
        assert!((LEAST_MEMORY..1 << 50).contains(&half), "{half}");
    }

    #[test]
    fn a_host_runs_at_least_one_call() {
        let none = CallsConfig { concurrency: 0, ..CallsConfig::default() };
        assert_eq!(none.faults("calls")[0].to_string(), "calls.concurrency: 0 is not between 1 and 1000");
    }
}
