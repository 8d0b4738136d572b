//! Headers by which servers and proxies take a request for another one: they would make nothing of the method, host and path that
//! were compared with the grants.

use http::header::{HeaderMap, HeaderName};

/// Those whose name says all.
const NAMES: [&str; 20] = [
    "base-url",
    "destination",
    "forwarded",
    "http-url",
    "path-info",
    "proxy-host",
    "proxy-url",
    "request-uri",
    "script-name",
    "x-forwarded",
    "x-host",
    "x-http-destinationurl",
    "x-method",
    "x-method-override",
    "x-override-url",
    "x-path-info",
    "x-proxy-url",
    "x-replaced-path",
    "x-request-uri",
    "x-script-name",
];
/// How the names of all others begin.
const PREFIXES: [&str; 7] = [
    "x-envoy-original-",
    "x-forwarded-",
    "x-http-host",
    "x-http-method",
    "x-http-verb",
    "x-original-",
    "x-rewrite-",
];

/// The first header of that kind.
pub(super) fn steering(headers: &HeaderMap) -> Option<&HeaderName> {
    headers.keys().find(|name| {
        // Gateways of the CGI kind do not tell the two apart.
        let name = name.as_str().replace('_', "-");
        NAMES.contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    })
}
