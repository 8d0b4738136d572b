//! Scrubbers by the names of the secrets that they search for. Making one takes milliseconds, and of all requests nearly
//! all need one of a few: one for each host that secrets go to, and for each set of grants that goes beyond it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use parking_lot::Mutex;

use super::Secret;
use super::scrub::Scrubber;

/// How much memory all that are kept may take, in bytes.
const MOST: usize = 128 << 20;

/// The scrubbers that were made so far.
#[derive(Default)]
pub(super) struct ScrubberCache(Mutex<HashMap<Vec<String>, Scrubber>>);

impl ScrubberCache {
    /// The one for these secrets.
    pub(super) fn get(&self, secrets: &BTreeMap<&str, &Secret>) -> Scrubber {
        if secrets.is_empty() {
            return Scrubber::default();
        }
        let names: Vec<_> = secrets.keys().map(|name| (*name).to_owned()).collect();
        let mut scrubbers = self.0.lock();
        if let Some(scrubber) = scrubbers.get(&names) {
            return scrubber.clone();
        }
        let scrubber = Scrubber::new(secrets.values().flat_map(|secret| secret.texts()));
        if scrubbers.values().map(Scrubber::memory).sum::<usize>() + scrubber.memory() > MOST {
            scrubbers.clear();
        }
        scrubbers.insert(names, scrubber.clone());
        scrubber
    }
}

impl fmt::Debug for ScrubberCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScrubberCache")
    }
}
