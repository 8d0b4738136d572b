//! What the operator set.

use campanile_guest::config;
use campanile_guest::failure::permanent;
use campanile_guest::types::Failure;

/// The key that the host signs with.
pub(crate) const KEY: &str = "${secret:SNS_KEY}";

const EXAMPLE: &str = "arn:aws:sns:eu-central-1:123456789012:alerts";

/// The settings.
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) topic_arn: String,
    pub(crate) authorization: String,
    pub(crate) subject: Option<String>,
    pub(crate) text: Option<String>,
}

impl Settings {
    /// Reads them.
    pub(crate) fn read() -> Result<Self, Failure> {
        let topic_arn = config::required("topic-arn", EXAMPLE)?;
        Ok(Self {
            url: config::get("url")?.map_or_else(|| endpoint(&topic_arn), Ok)?,
            authorization: config::get("authorization")?.unwrap_or_else(|| KEY.to_owned()),
            subject: config::get("subject")?,
            text: config::get("text")?,
            topic_arn,
        })
    }
}

/// Where the topic's region is told, as docs.aws.amazon.com/general/latest/gr/sns.html lists it.
pub(crate) fn endpoint(arn: &str) -> Result<String, Failure> {
    let parts: Vec<_> = arn.split(':').collect();
    match parts[..] {
        ["arn", "aws-cn", "sns", region, _, _] => Ok(format!("https://sns.{region}.amazonaws.com.cn/")),
        ["arn", _, "sns", region, _, _] => Ok(format!("https://sns.{region}.amazonaws.com/")),
        _ => {
            let message = format!(
                "the configuration's `topic-arn` is {arn:?}, not the ARN of a topic, such as {EXAMPLE:?}"
            );
            Err(permanent("config-invalid", message))
        }
    }
}
