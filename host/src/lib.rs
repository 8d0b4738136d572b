//! Campanile: a WebAssembly plugin host where alert activities are sandboxed modules.
//!
//! `main → cli → app → {webhook, temporal, plugin, plan, config}`. Only [`app`] knows every wall; [`alert`],
//! [`scope`], [`shown`], [`time`], [`ledger`], [`life_table`], [`fault`], [`condition`], [`routing`] and [`plan`] are the
//! vocabulary and know none.

pub mod alert;
pub mod app;
pub mod cli;
pub mod condition;
pub mod config;
pub mod disk;
pub mod fault;
pub mod last_resort;
pub mod ledger;
pub mod life_table;
pub mod live;
mod niceness;
pub mod operator_file;
pub mod plan;
pub mod plugin;
pub mod records;
pub mod reload;
pub mod routing;
pub mod scope;
pub mod server_certificate;
pub mod shown;
pub mod store;
pub mod telemetry;
pub mod temporal;
pub mod time;
pub mod toml_file;
pub mod webhook;
