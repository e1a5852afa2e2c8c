//! From the spec of a Repository to what its engine follows. Pure.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kube::ResourceExt as _;
use sluice_core::{channel::Freeze, resolve::Owner};
use sluice_crds::{
    CONFIRM_DELETE_ANNOTATION, Repository,
    common::duration,
    repository::{self, Apply, Reference as Wanted, TakeOver},
};
use sluice_engine::{Folder, WriteMode};
use sluice_manifest::freezes;
use sluice_repo::{PathFilter, Reference, RepositoryUrl};

use crate::{deleted::Grace, follow::Trouble};

/// Shortest interval: a webhook is the way to be faster.
const SHORTEST: Duration = Duration::from_secs(1);

/// What an engine follows.
#[derive(Debug, Clone)]
pub(crate) struct Following {
    pub(crate) owner: Owner,
    pub(crate) url: RepositoryUrl,
    pub(crate) reference: Reference,
    pub(crate) folder: Folder,
    pub(crate) interval: Duration,
    pub(crate) apply: Apply,
    pub(crate) grace: Grace,
    pub(crate) take_over: Vec<TakeOver>,
    pub(crate) freezes: Arc<Vec<Freeze>>,
    pub(crate) write: WriteMode,
}

impl Following {
    /// Reads a Repository.
    pub(crate) fn of(repository: &Repository) -> Result<Self, Trouble> {
        let spec = &repository.spec;
        let invalid = |field: &str, error: &dyn std::fmt::Display| Trouble {
            reason: "InvalidSpec",
            message: format!("spec.{field}: {error}"),
            passes: false,
        };
        for (field, used) in [
            ("verify", spec.verify.is_some()),
            ("forge", spec.forge.is_some()),
            ("metricProviders", !spec.metric_providers.is_empty()),
        ] {
            if used {
                return Err(Trouble {
                    reason: "FieldNotSupported",
                    message: format!(
                        "spec.{field} is reserved for a later release; remove it: following without it could serve what \
                         it should prevent"
                    ),
                    passes: false,
                });
            }
        }
        let url: RepositoryUrl = spec.url.parse().map_err(|error| invalid("url", &error))?;
        if url.is_local() {
            return Err(invalid("url", &"a path of the operator's own machine is not followed in a cluster"));
        }
        let Wanted { branch, tag, semver, commit } = &spec.reference;
        let reference = match (branch, tag, semver, commit) {
            (Some(branch), None, None, None) => Reference::branch(branch),
            (None, Some(tag), None, None) => Reference::tag(tag),
            (None, None, Some(range), None) => Reference::semver(range),
            (None, None, None, Some(commit)) => Reference::commit(commit),
            _ => return Err(invalid("ref", &"exactly one of branch, tag, semver and commit is required")),
        };
        let filter = PathFilter::new(&spec.include, &spec.exclude);
        let path = spec.path.trim_matches('/').trim_start_matches("./");
        let interval = duration(&spec.interval)
            .ok_or_else(|| invalid("interval", &"expected a duration such as `60s`"))?;
        let grace: Result<Grace, _> = spec.deletion_grace_period.parse();
        Ok(Self {
            owner: Owner { name: name(repository), apps: spec.apps.clone() },
            url,
            reference: reference.map_err(|error| invalid("ref", &error))?,
            folder: Folder {
                path: if path == "." { String::new() } else { path.to_owned() },
                filter: filter.map_err(|error| invalid("include or exclude", &error))?,
            },
            interval: interval.max(SHORTEST),
            apply: spec.apply,
            grace: grace.map_err(|error| invalid("deletionGracePeriod", &error))?,
            take_over: spec.take_over.clone(),
            write: match spec.write.mode {
                repository::WriteMode::Auto => WriteMode::Auto,
                repository::WriteMode::Push => WriteMode::Push,
                repository::WriteMode::PullRequest => WriteMode::PullRequest,
                repository::WriteMode::Off => WriteMode::Off,
            },
            freezes: Arc::new(freezes(&spec.freezes).map_err(|error| invalid("freezes", &error))?),
        })
    }
}

/// `namespace/name`.
pub(crate) fn name(repository: &Repository) -> String {
    format!("{}/{}", repository.namespace().unwrap_or_default(), repository.name_any())
}

/// The objects whose deletion from the cluster is confirmed, as `Kind/name`.
pub(crate) fn confirmed(repository: &Repository) -> BTreeSet<String> {
    let text =
        repository.annotations().get(CONFIRM_DELETE_ANNOTATION).map(String::as_str).unwrap_or_default();
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn repository(spec: &Value) -> Repository {
        let mut all = json!({
            "url": "https://git.example.org/shop.git", "apps": ["com.example.*"], "write": { "mode": "Off" },
        });
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "Repository",
            "metadata": { "namespace": "shop", "name": "releases", "annotations": {
                CONFIRM_DELETE_ANNOTATION: "Channel/a, Channel/b,",
            } },
            "spec": all,
        }))
        .unwrap()
    }

    #[test]
    fn a_repository_is_followed_as_it_says() {
        let made = Following::of(&repository(&json!({
            "ref": { "semver": ">=1" }, "path": "./apps/shop/", "interval": "1m30s", "apply": "External",
        })))
        .unwrap();
        assert_eq!(made.owner.name, "shop/releases");
        assert_eq!(made.folder.path, "apps/shop");
        assert_eq!(made.interval, Duration::from_secs(90));
        assert_eq!(made.apply, Apply::External);
        let plain = Following::of(&repository(&json!({}))).unwrap();
        assert_eq!((plain.folder.path.as_str(), plain.interval), ("", Duration::from_mins(1)));
        assert_eq!(plain.grace, "168h".parse().unwrap());
        let daily = Following::of(&repository(&json!({ "interval": "1d" }))).unwrap();
        assert_eq!(daily.interval, Duration::from_hours(24));
        let winter =
            json!({ "name": "winter", "from": "2026-12-20T00:00:00Z", "to": "2027-01-04T00:00:00Z" });
        let frozen = Following::of(&repository(&json!({ "freezes": [winter] }))).unwrap();
        assert_eq!(frozen.freezes[0].name, "winter");
        assert_eq!(
            confirmed(&repository(&json!({}))),
            ["Channel/a".to_owned(), "Channel/b".to_owned()].into()
        );
    }

    #[test]
    fn what_is_not_supported_is_not_followed() {
        for (spec, reason, word) in [
            (json!({ "verify": { "secretRef": { "name": "keys" } } }), "FieldNotSupported", "spec.verify"),
            (json!({ "url": "file:///etc" }), "InvalidSpec", "spec.url"),
            (json!({ "ref": { "branch": "-x" } }), "InvalidSpec", "spec.ref"),
            (json!({ "ref": { "branch": "a", "tag": "b" } }), "InvalidSpec", "exactly one"),
            (json!({ "interval": "soon" }), "InvalidSpec", "spec.interval"),
            (json!({ "deletionGracePeriod": "long" }), "InvalidSpec", "spec.deletionGracePeriod"),
            (
                json!({ "freezes": [{ "name": "x", "from": "2027-01-04T00:00:00Z", "to": "soon" }] }),
                "InvalidSpec",
                "spec.freezes: to of freeze x",
            ),
        ] {
            let trouble = Following::of(&repository(&spec)).unwrap_err();
            assert_eq!(trouble.reason, reason, "{spec}");
            assert!(trouble.message.contains(word), "{}", trouble.message);
        }
    }
}
