//! Which reference a genuine webhook is about. Any other shape of payload is no error.

use serde::Deserialize;

#[derive(Deserialize)]
struct Payload {
    /// GitHub, GitLab, Gitea, Forgejo.
    #[serde(rename = "ref")]
    reference: Option<String>,
    /// Bitbucket Cloud.
    push: Option<Push>,
    /// Bitbucket Data Center.
    changes: Option<Vec<Change>>,
}

#[derive(Deserialize)]
struct Push {
    changes: Vec<CloudChange>,
}

#[derive(Deserialize)]
struct CloudChange {
    new: Option<Named>,
    old: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "type")]
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct Change {
    #[serde(rename = "ref")]
    reference: Id,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

/// The full name of the one reference that was pushed.
pub(super) fn pushed(body: &[u8]) -> Option<String> {
    let payload: Payload = serde_json::from_slice(body).ok()?;
    let mut all: Vec<String> = payload.reference.into_iter().collect();
    all.extend(payload.changes.into_iter().flatten().map(|change| change.reference.id));
    for change in payload.push.into_iter().flat_map(|push| push.changes) {
        let named = change.new.or(change.old)?;
        let folder = match named.kind.as_str() {
            "branch" => "refs/heads/",
            "tag" => "refs/tags/",
            _ => return None,
        };
        all.push(format!("{folder}{}", named.name));
    }
    all.sort();
    all.dedup();
    match all.as_slice() {
        [one] if one.starts_with("refs/") && one.len() <= 1024 => Some(one.clone()),
        _ => None,
    }
}
