//! What the API server was asked, from its audit log.

use std::path::Path;

use serde::Deserialize;

/// Everything that was asked, without bodies; long answers (watches) when they begin and when they end.
pub(super) const POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
 "rules": [{"level": "Metadata"}]}"#;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditEntry {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Group of the resource; empty for the core group.
    pub group: String,
    /// Plural name of the resource; empty for requests such as `/version`.
    pub resource: String,
    /// For example `status`; empty for the resource itself.
    pub subresource: String,
    /// Namespace of the object; empty for what has none.
    pub namespace: String,
    /// Name of the object; empty where the request names none.
    pub name: String,
    /// Who asked, for example `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// What program asked.
    pub user_agent: String,
    /// Path and query.
    pub uri: String,
    /// HTTP status of the answer.
    pub code: u16,
    /// The answer has begun and not ended: a watch.
    pub open: bool,
}

/// Reads what is written. The last line may be half written.
pub(super) fn read(log: &Path) -> Vec<AuditEntry> {
    let text = std::fs::read_to_string(log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| {
            serde_json::from_str::<Line>(line)
                .unwrap_or_else(|error| panic!("{}: {error}: {line}", log.display()))
                .into()
        })
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    resource: String,
    namespace: String,
    name: String,
    api_group: String,
    subresource: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

impl From<Line> for AuditEntry {
    fn from(line: Line) -> Self {
        let ObjectRef { resource, namespace, name, api_group, subresource } = line.object_ref;
        Self {
            verb: line.verb,
            group: api_group,
            resource,
            subresource,
            namespace,
            name,
            user: line.user.username,
            user_agent: line.user_agent,
            uri: line.request_uri,
            code: line.response_status.code,
            open: line.stage == "ResponseStarted",
        }
    }
}
