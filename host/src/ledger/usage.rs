//! What one call of a plugin used up: its receipt.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What one call of a plugin used up. What is zero is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Usage {
    /// Processor time, in microseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub cpu_us: u64,
    /// The most memory it had, over all memories and tables, in bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub memory: u64,
    /// How often it read its settings.
    #[serde(skip_serializing_if = "is_zero")]
    pub config_reads: u64,
    /// Lines that it logged or printed.
    #[serde(skip_serializing_if = "is_zero")]
    pub log_lines: u64,
    /// Bytes of output beyond its limits, which nobody saw.
    #[serde(skip_serializing_if = "is_zero")]
    pub log_bytes_dropped: u64,
    /// HTTP requests that it made, those that were denied included.
    #[serde(skip_serializing_if = "is_zero")]
    pub http_requests: u64,
    /// HTTP requests and mails that its grants did not allow.
    #[serde(skip_serializing_if = "is_zero")]
    pub denied: u64,
    /// Bytes that it sent by HTTP.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_out: u64,
    /// Bytes that it received by HTTP.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_in: u64,
    /// Mails that it handed over.
    #[serde(skip_serializing_if = "is_zero")]
    pub mails: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
