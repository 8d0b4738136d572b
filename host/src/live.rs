//! What of the configuration is in force and replaced while the host runs, besides routes: who may post, and what plugins use in secret.

use crate::config::Config;
use crate::fault::Fault;
use crate::plugin::Secrets;
use crate::webhook::Access;

/// Keys, signatures and secrets, read.
#[derive(Default)]
pub struct Live {
    /// Who may post, ask and steer.
    pub access: Access,
    /// What the host fills into requests of plugins; sources use none.
    pub secrets: Secrets,
}

impl Live {
    /// Reads them from files and from the environment.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the tables `keys`, `sources` and `secrets`, or cannot be read.
    pub fn read(config: &Config) -> Result<Self, Vec<Fault>> {
        let file = &config.file;
        let access = Access::load(&file.keys, &file.sources, &file.egress);
        let secrets = match config.role.works() {
            true => Secrets::load(file.secrets.clone()),
            false => Ok(Secrets::default()),
        };
        match (access, secrets) {
            (Ok(access), Ok(secrets)) => Ok(Self { access, secrets }),
            (access, secrets) => Err([secrets.err(), access.err()].into_iter().flatten().flatten().collect()),
        }
    }
}

/// Nobody opens a webhook to others by accident.
///
/// # Errors
///
/// Others could post without being asked anything.
pub fn check_reach(config: &Config, access: &Access) -> Result<(), Fault> {
    let file = &config.file;
    let is_reachable = !config.listen.is_local();
    let has_clients = file.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let is_meant = access.asks() || has_clients || file.webhook.anybody_may_post;
    if config.role.accepts() && is_reachable && !is_meant {
        return Err(Fault::whole(format!(
            "listening on {} lets everybody post who can reach it: `campanile keys new NAME` makes a key and prints what to \
             put into the configuration; or say `anybody-may-post = true` under [webhook]",
            config.listen
        )));
    }
    Ok(())
}
