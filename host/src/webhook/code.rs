//! The codes of refusals: a closed set that machines act on. `docs/api.md` lists them from here.

use axum::http::StatusCode;

macro_rules! codes {
    ($($name:ident $text:literal $status:ident $meaning:literal)*) => {
        /// What kind of refusal an answer is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Code {
            $(#[doc = $meaning] $name,)*
        }

        impl Code {
            /// All of them, by status.
            pub(super) const ALL: &[Code] = &[$(Code::$name),*];

            /// The code as it stands in answers, logs and metrics.
            pub(super) fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// The status that goes with it.
            pub(super) fn status(self) -> StatusCode {
                match self { $(Code::$name => StatusCode::$status,)* }
            }

            /// The status that goes with it under `/webhook/{source}`: the one that every monitoring system takes for
            /// "again, later". Many take a 429 or a 500 for final.
            pub(super) fn status_of_source(self) -> StatusCode {
                match self.status() {
                    StatusCode::INTERNAL_SERVER_ERROR | StatusCode::TOO_MANY_REQUESTS => {
                        StatusCode::SERVICE_UNAVAILABLE
                    }
                    other => other,
                }
            }

            /// What it means to the sender.
            pub(super) fn meaning(self) -> &'static str {
                match self { $(Code::$name => $meaning,)* }
            }
        }
    };
}

codes! {
    InvalidRequest "invalid-request" BAD_REQUEST "The content is wrong; every fault is in `errors`, with path, value and what is allowed."
    Encrypted "encrypted" BAD_REQUEST "What the store holds is encrypted: texts cannot be searched for."
    Undecodable "undecodable" BAD_REQUEST "The source cannot read the request; the message says why."
    Unauthenticated "unauthenticated" UNAUTHORIZED "A key or a signature is missing or wrong; the message says what is taken here."
    Forbidden "forbidden" FORBIDDEN "The key is good, but not for this address."
    ForeignOrigin "foreign-origin" FORBIDDEN "A web page of another site had a browser send this; `webhook.cors-origins` lists the sites that may."
    NotFound "not-found" NOT_FOUND "There is nothing at this address, or the alert is not known, or no longer."
    UnknownSource "unknown-source" NOT_FOUND "No source has this name."
    UnknownPlugin "unknown-plugin" NOT_FOUND "No plugin of this name is loaded in this process."
    MethodNotAllowed "method-not-allowed" METHOD_NOT_ALLOWED "The address takes other methods; `allow` lists them."
    BodyTimeout "body-timeout" REQUEST_TIMEOUT "The body did not come to its end; nothing was accepted."
    BatchIdReused "batch-id-reused" CONFLICT "The `batch_id`, `idempotency-key` or `webhook-id` was used before, for other alerts."
    BodyTooLarge "body-too-large" PAYLOAD_TOO_LARGE "The body is over `webhook.body-limit`, as sent or unpacked."
    BodyTooComplex "body-too-complex" PAYLOAD_TOO_LARGE "The body holds more JSON values than `webhook.body-values`, or is nested deeper than `webhook.body-depth`."
    TooManyAlerts "too-many-alerts" PAYLOAD_TOO_LARGE "A source found more than 10,000 alerts in one request; none was accepted."
    UnsupportedMediaType "unsupported-media-type" UNSUPPORTED_MEDIA_TYPE "The body is not declared as JSON, or its `content-encoding` is not gzip."
    FailingInput "failing-input" UNPROCESSABLE_ENTITY "The source's plugin crashed or hit a limit on this very body twice before; it is not tried again for a while."
    RateLimited "rate-limited" TOO_MANY_REQUESTS "The key has posted more than its `rate-limit`; `retry-after` says when to go on."
    HeadTooLarge "head-too-large" REQUEST_HEADER_FIELDS_TOO_LARGE "The request's head is over 64 KiB, or has more than 100 lines. Over HTTP/2 the answer has no body."
    Internal "internal" INTERNAL_SERVER_ERROR "The host has a fault: `errors` and its log say which."
    TemporalUnavailable "temporal-unavailable" INTERNAL_SERVER_ERROR "Temporal does not answer; nothing is confirmed. `errors` has the cause."
    SourceUnavailable "source-unavailable" SERVICE_UNAVAILABLE "The source's plugin cannot be called now; nothing was accepted."
    SourceFailed "source-failed" SERVICE_UNAVAILABLE "The source's plugin crashed, hit a limit or asked for another attempt on this body; nothing was accepted."
    PluginLoading "plugin-loading" SERVICE_UNAVAILABLE "The source's plugin is there, and not loaded yet; nothing was accepted."
    Starting "starting" SERVICE_UNAVAILABLE "The host is starting, and does not take anything yet; nothing was accepted."
    DiskNotWritable "disk-not-writable" SERVICE_UNAVAILABLE "The disk under the host is full or cannot be written; nothing is confirmed. `errors` names the file or directory, and what to do."
    StoreFull "store-full" SERVICE_UNAVAILABLE "As many alerts as the store may hold (`store.pending`) are not at their end; nothing was accepted."
    StoreUnavailable "store-unavailable" SERVICE_UNAVAILABLE "The host's store cannot be reached or written; nothing is confirmed. `errors` has the cause."
    Overloaded "overloaded" SERVICE_UNAVAILABLE "As many requests as the host takes at once are under way, or Temporal is too slow for a question; nothing is confirmed."
    SpoolFull "spool-full" SERVICE_UNAVAILABLE "The request cannot be handed over now, or the plugin failed on the body, and the spool holds as much as it may, of all senders or of this one; nothing was accepted."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_code() {
        let row = |code: &Code| {
            format!("| {} | `{}` | {} |\n", code.status().as_u16(), code.as_str(), code.meaning())
        };
        let rows: String = Code::ALL.iter().map(row).collect();
        let document = include_str!("../../../docs/api.md");
        assert!(document.contains(&rows), "docs/api.md must have these rows, as they are:\n{rows}");
    }
}
