//! Signing a request for AWS: Signature Version 4, in the header `authorization`.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningError, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::sign::Unsigned;

/// What the signature adds, whatever the plugin wrote there.
const OURS: [&str; 3] = ["x-amz-date", "x-amz-content-sha256", "x-amz-security-token"];

/// Whom and what a key signs for.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    access_key_id: String,
    region: String,
    service: String,
    session_token: Option<SecretString>,
}

impl Scope {
    pub(super) fn new(
        access_key_id: String,
        region: String,
        service: String,
        session_token: Option<String>,
    ) -> Self {
        Self { access_key_id, region, service, session_token: session_token.map(Into::into) }
    }

    pub(super) fn session_token(&self) -> Option<&str> {
        self.session_token.as_ref().map(ExposeSecret::expose_secret)
    }

    /// Adds the signature and the headers that go with it. Headers that hold other secrets are left out of it.
    pub(super) fn sign(
        &self,
        key: &SecretString,
        request: &mut Unsigned<'_>,
        now: Timestamp,
    ) -> Result<(), SigningError> {
        for name in OURS {
            request.headers.remove(name);
        }
        request.headers.remove(AUTHORIZATION);
        let token = self.session_token().map(str::to_owned);
        let identity =
            Credentials::new(&self.access_key_id, key.expose_secret(), token, None, "campanile").into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(now.into())
            .settings(self.settings(request.body))
            .build()
            .expect("everything that is needed is given")
            .into();
        let body = SignableBody::Bytes(request.body);
        let signable = SignableRequest::new(
            request.method.as_str(),
            request.url.as_str(),
            plain(request.headers),
            body,
        )?;
        let (signed, _) = sign(signable, &parameters)?.into_parts();
        for header in signed.into_parts().0 {
            let mut value = HeaderValue::try_from(header.value()).expect("a signature is plain text");
            value.set_sensitive(true);
            request.headers.insert(HeaderName::from_static(header.name()), value);
        }
        Ok(())
    }

    /// S3 takes paths as they are, every other service encodes them once more. S3 wants the body's digest as a header,
    /// some others do, and nobody minds it.
    fn settings(&self, body: &[u8]) -> SigningSettings {
        let is_s3 = self.service == "s3" || self.service.starts_with("s3-") || self.service == "s3express";
        let mut settings = SigningSettings::default();
        // Proxies in front of a service change it.
        settings.excluded_headers.get_or_insert_default().push(ACCEPT_ENCODING.as_str().into());
        if is_s3 {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        if is_s3 || !body.is_empty() {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        settings
    }
}

fn plain(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let open = headers.iter().filter(|(_, value)| !value.is_sensitive());
    open.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
}

#[cfg(test)]
mod tests {
    use http::Method;
    use url::Url;

    use super::*;

    const KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    /// One case of AWS' signing test suite: the request, and the names of the signed headers with the signature.
    struct Case {
        request: &'static str,
        headers: &'static [(&'static str, &'static str)],
        body: &'static str,
        token: Option<&'static str>,
        signed: &'static str,
        signature: &'static str,
    }

    const PLAIN: Case = Case {
        request: "GET /",
        headers: &[],
        body: "",
        token: None,
        signed: "host;x-amz-date",
        signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    };

    const FORM: Case = Case {
        request: "POST /",
        headers: &[("content-length", "13"), ("content-type", "application/x-www-form-urlencoded")],
        body: "Param1=value1",
        signed: "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
        signature: "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
        ..PLAIN
    };

    /// From the suite: get-vanilla, get-vanilla-query-order-encoded, get-vanilla-query-order-key-case, get-slashes-normalized,
    /// get-vanilla-utf8-query, get-header-value-trim, post-header-key-sort, get-vanilla-with-session-token,
    /// post-x-www-form-urlencoded and post-x-www-form-urlencoded-parameters.
    const SUITE: [Case; 10] = [
        PLAIN,
        Case {
            request: "GET /?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
            signature: "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
            ..PLAIN
        },
        Case {
            request: "GET /?Param2=value2&Param1=value1",
            signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ..PLAIN
        },
        Case {
            request: "GET //example//",
            signature: "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
            ..PLAIN
        },
        Case {
            request: "GET /?ሴ=bar",
            signature: "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
            ..PLAIN
        },
        Case {
            headers: &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
            signed: "host;my-header1;my-header2;x-amz-date",
            signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ..PLAIN
        },
        Case {
            request: "POST /",
            headers: &[("my-header1", "value1")],
            signed: "host;my-header1;x-amz-date",
            signature: "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
            ..PLAIN
        },
        Case {
            token: Some("6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"),
            signed: "host;x-amz-date;x-amz-security-token",
            signature: "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
            ..PLAIN
        },
        FORM,
        Case {
            headers: &[
                ("content-length", "13"),
                ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
            ],
            signature: "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
            ..FORM
        },
    ];

    fn signed(scope: &Scope, case: &Case, more: &[(&'static str, &'static str)]) -> HeaderMap {
        let (method, path) = case.request.split_once(' ').unwrap();
        let url = Url::parse(&format!("https://example.amazonaws.com{path}")).unwrap();
        let given = [("host", "example.amazonaws.com"), ("authorization", "${secret:KEY}")];
        let given = given.iter().chain(case.headers).chain(more);
        let mut headers: HeaderMap = given
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let method: Method = method.parse().unwrap();
        let mut request =
            Unsigned { method: &method, url: &url, headers: &mut headers, body: case.body.as_bytes() };
        scope.sign(&KEY.into(), &mut request, "2015-08-30T12:36:00Z".parse().unwrap()).unwrap();
        headers
    }

    fn scope(service: &str, token: Option<&str>) -> Scope {
        Scope::new("AKIDEXAMPLE".into(), "us-east-1".into(), service.into(), token.map(str::to_owned))
    }

    #[test]
    fn signatures_are_those_of_the_test_suite_of_aws() {
        for case in &SUITE {
            let headers = signed(&scope("service", case.token), case, &[]);
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders={}, Signature={}",
                case.signed, case.signature
            );
            assert_eq!(headers["authorization"], expected, "{}", case.request);
            assert_eq!(headers["x-amz-date"], "20150830T123600Z");
            assert_eq!(headers.get("x-amz-security-token").map(|token| token.to_str().unwrap()), case.token);
        }
    }

    #[test]
    fn what_the_plugin_wrote_in_our_headers_does_not_matter() {
        let forged = [("x-amz-date", "20000101T000000Z"), ("x-amz-content-sha256", "UNSIGNED-PAYLOAD")];
        for case in [&PLAIN, &FORM] {
            let scope = scope("service", None);
            assert_eq!(signed(&scope, case, &forged), signed(&scope, case, &[]));
        }
    }

    #[test]
    fn s3_gets_the_digest_of_an_empty_body_too() {
        let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(signed(&scope("s3", None), &PLAIN, &[])["x-amz-content-sha256"], digest);
        assert!(!signed(&scope("sns", None), &PLAIN, &[]).contains_key("x-amz-content-sha256"));
    }
}
