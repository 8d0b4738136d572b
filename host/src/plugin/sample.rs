//! The host's own inputs: what it tries a source or a processor with, to tell a plugin that is broken from one that one sender
//! breaks.

use std::sync::Arc;

use campanile_store::Disposition;
use jiff::Timestamp;

use super::SourceRequest;
use crate::alert::{Alert, AlertItem, AlertType, Origin, Severity, Source, Status};

/// A request that every source can take, be it to say that it is none of its vendor's.
pub(super) fn request() -> SourceRequest {
    SourceRequest {
        method: "POST".to_owned(),
        path: "/".to_owned(),
        headers: vec![("content-type".to_owned(), b"application/json".to_vec())],
        body: b"{}".to_vec(),
    }
}

/// An alert that every processor can take.
pub(super) fn alert() -> AlertItem {
    let source =
        Source { name: "campanile".to_owned(), kind: "campanile".to_owned(), extra: Default::default() };
    let alert = Alert {
        id: Some("sample".to_owned()),
        title: "Sample".to_owned(),
        description: "The host tries whether this processor works: it failed on what a sender posted."
            .to_owned(),
        kind: AlertType::Custom,
        severity: Severity::Low,
        source,
        status: Status::Firing,
        dedup_key: None,
        starts_at: None,
        ends_at: None,
        momentary: false,
        vendor_level: None,
        secret_scope: None,
        context: None,
        labels: Default::default(),
        links: Vec::new(),
        data: Default::default(),
        metrics: Default::default(),
        extra: Default::default(),
    };
    let origin = Origin {
        metadata: Default::default(),
        received_at: Timestamp::now(),
        traceparent: String::new(),
        via: None,
        key: None,
        from: None,
        sealed: false,
        warnings: Vec::new(),
    };
    AlertItem {
        id: "sample".to_owned(),
        thread_id: "sample".to_owned(),
        disposition: Disposition::New,
        is_worse: false,
        acknowledged: None,
        alert,
        origin: Arc::new(origin),
    }
}
