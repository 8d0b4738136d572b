//! What Jira's refusals mean, once [`crate::answer`] has put them in one place.
//!
//! Sources: the answers of developer.atlassian.com/cloud/jira/platform/rest/v3 (400, 401, 403, 404), and
//! …/cloud/jira/platform/rate-limiting (429, and some 5xx, with `Retry-After`).

use campanile_guest::http::{Rule, Service};

const PROJECT: &str = "check `project`: the key of a project in which the account may create and see issues";
const TYPE: &str = "check `issue-type`: one that the project has, such as Task";
const PRIORITY: &str = "check `priorities`, or set it to \"\" if the project has none";
const LABELS: &str =
    "put the field Labels on the project's screen for new issues: it is how a repeat is recognised";
const REQUIRED: &str = "the project wants fields that this plugin does not fill; choose another `issue-type`, or \
                        give them defaults";
const GONE: &str = "it was deleted or moved, or the account may not see it any more";

pub(crate) const JIRA: Service = Service {
    id: &["/key"],
    error: &["/error"],
    success: None,
    wait: None,
    rules: &[
        Rule::never("project:", "invalid-project", PROJECT),
        Rule::never("field 'project'", "invalid-project", PROJECT),
        Rule::never("issuetype:", "invalid-issue-type", TYPE),
        Rule::never("priority:", "invalid-priority", PRIORITY),
        Rule::never("labels:", "invalid-labels", LABELS),
        Rule::never("exceeds the allowed limit", "too-long", "set `text` to a shorter template"),
        Rule::never("is required", "field-required", REQUIRED),
        Rule::never("Issue does not exist", "issue-gone", GONE),
        Rule::never("Issue Does Not Exist", "issue-gone", GONE),
    ],
};
