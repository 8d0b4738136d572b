//! A plugin as one receiver uses it: with settings and secrets of the receiver's own, over those of the plugin's file.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::egress::Egress;
use super::loaded::Plugin;
use super::sidecar::{self, Settings};
use crate::fault::Fault;

/// What a call differs in from one with the plugin's own file. Good for one generation of the plugin.
pub struct Setup {
    pub(super) settings: Settings,
    pub(super) egress: Arc<Egress>,
}

impl Plugin {
    /// Puts settings over those of its file, and allows more secrets.
    ///
    /// # Errors
    ///
    /// The settings do not fit the plugin's schema; paths begin with `config.`
    pub fn setup(&self, config: &Map<String, Value>, secrets: &[String]) -> Result<Setup, Vec<Fault>> {
        let mut merged = sidecar::merged(&self.sidecar.config.config, config);
        self.compiled.schema.settle_words(&mut merged);
        let faults = self.compiled.schema.faults(&merged);
        if !faults.is_empty() {
            return Err(faults);
        }
        let settings = sidecar::settings(&merged)?;
        Ok(Setup { settings, egress: Arc::new(self.egress.with_secrets(secrets)) })
    }
}
