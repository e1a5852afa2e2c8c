//! What Git wants an object to be, and whether the cluster has it so.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use sluice_core::inventory::Kind;
use sluice_crds::{API_VERSION, ChannelSpec, PATH_ANNOTATION, REPOSITORY_LABEL, ReleaseSpec};

use crate::{
    cache::{Body, Held, Substance},
    texts::Texts,
};

/// The label that tools show an object's maker by.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// An object as Git wants it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Desired {
    /// The namespace that its document names, if it names one.
    pub(crate) namespace: Option<String>,
    labels: Texts,
    annotations: Texts,
    spec: Spec,
}

#[derive(Debug, Clone, PartialEq)]
enum Spec {
    Release(Box<ReleaseSpec>),
    Channel(Box<ChannelSpec>),
}

impl Desired {
    /// Reads a document of `file` that `sluice_manifest` found no mistake in. `None`: the types do not take it, which
    /// would be a mistake of this program.
    pub(crate) fn of(kind: Kind, document: &Value, file: &str, repository: &str) -> Option<Self> {
        let spec = match kind {
            Kind::Release => Spec::Release(serde_json::from_value(document["spec"].clone()).ok()?),
            Kind::Channel => Spec::Channel(serde_json::from_value(document["spec"].clone()).ok()?),
        };
        let texts = |field: &str| -> BTreeMap<String, String> {
            let map = document["metadata"][field].as_object().into_iter().flatten();
            map.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
        };
        let (mut labels, mut annotations) = (texts("labels"), texts("annotations"));
        labels.insert(MANAGED_BY.into(), "sluice".into());
        labels.insert(REPOSITORY_LABEL.into(), repository.to_owned());
        annotations.insert(PATH_ANNOTATION.into(), file.to_owned());
        let namespace = document["metadata"]["namespace"].as_str().map(str::to_owned);
        Some(Self { namespace, labels: Texts::from(&labels), annotations: Texts::from(&annotations), spec })
    }

    /// What is sent to the API server. Fields that Git leaves out are written with their defaults, so that they are
    /// Git's as well.
    pub(crate) fn patch(&self, name: &str) -> Value {
        json!({
            "apiVersion": API_VERSION,
            "kind": match self.spec { Spec::Release(_) => "Release", Spec::Channel(_) => "Channel" },
            "metadata": { "name": name, "labels": self.labels, "annotations": self.annotations },
            "spec": self.spec(),
        })
    }

    fn spec(&self) -> Value {
        match &self.spec {
            Spec::Release(spec) => value(spec),
            Spec::Channel(spec) => value(spec),
        }
    }

    /// Whether the cluster has it like this.
    pub(crate) fn is(&self, held: &Held) -> bool {
        let same = match (&self.spec, &held.body) {
            (Spec::Release(spec), Body::Release(body)) => **spec == body.0,
            (Spec::Channel(spec), Body::Channel(body)) => **spec == body.0,
            _ => false,
        };
        let Substance { deleting, labels, annotations, .. } = &*held.substance;
        same && !deleting && labels.contain(&self.labels) && annotations.contain(&self.annotations)
    }

    /// A merge patch that takes out of `held` what Git does not have, and that applying leaves because somebody else
    /// put it there. `None` when there is nothing of that kind.
    pub(crate) fn without_additions(&self, held: &Held) -> Option<Value> {
        let theirs = match &held.body {
            Body::Release(body) => value(&body.0),
            Body::Channel(body) => value(&body.0),
            Body::Unreadable(_) => return None,
        };
        let spec = additions(&self.spec(), &theirs)?;
        Some(json!({ "spec": spec }))
    }
}

/// `null` for each field that `theirs` has and `mine` does not, and each list that differs as a whole: to a list, too,
/// somebody may have added.
fn additions(mine: &Value, theirs: &Value) -> Option<Value> {
    if let (Value::Array(_), Value::Array(_)) = (mine, theirs) {
        return (mine != theirs).then(|| mine.clone());
    }
    let (Value::Object(mine), Value::Object(theirs)) = (mine, theirs) else { return None };
    let mut patch = Map::new();
    for (key, value) in theirs {
        match mine.get(key) {
            None => _ = patch.insert(key.clone(), Value::Null),
            Some(mine) => {
                if let Some(inner) = additions(mine, value) {
                    patch.insert(key.clone(), inner);
                }
            }
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn value<T: Serialize>(spec: &T) -> Value {
    serde_json::to_value(spec).expect("a spec has text keys and cannot fail")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sluice_core::inventory::ObjectKey;
    use sluice_crds::ChannelStatus;

    use super::*;

    fn document() -> Value {
        json!({
            "apiVersion": API_VERSION, "kind": "Channel",
            "metadata": { "name": "c", "labels": { "team": "a" } },
            "spec": { "app": "com.example.shop", "release": "1.0.0" },
        })
    }

    fn desired() -> Desired {
        Desired::of(Kind::Channel, &document(), "channels/c.yaml", "shop").unwrap()
    }

    /// The object as the API server would answer `patch`, and with `more` in its spec.
    fn held(patch: &Value, more: &Value) -> Held {
        let mut spec = patch["spec"].clone();
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let texts = |field: &str| {
            let texts: BTreeMap<String, String> =
                serde_json::from_value(patch["metadata"][field].clone()).unwrap();
            Texts::from(&texts)
        };
        Held {
            key: ObjectKey { kind: Kind::Channel, name: "c".into() },
            resource_version: "1".into(),
            substance: Arc::new(Substance {
                uid: "u".into(),
                generation: 1,
                deleting: false,
                labels: texts("labels"),
                annotations: texts("annotations"),
            }),
            writer: None,
            body: Body::Channel(Box::new((serde_json::from_value(spec).unwrap(), ChannelStatus::default()))),
        }
    }

    #[test]
    fn defaults_are_written_and_compare_equal() {
        let desired = desired();
        let patch = desired.patch("c");
        assert_eq!(patch["spec"]["suspend"], false);
        assert_eq!(patch["metadata"]["labels"]["team"], "a");
        let same = held(&patch, &json!({}));
        assert!(desired.is(&same));
        assert_eq!(desired.without_additions(&same), None);
        let deleting = Substance { deleting: true, ..Substance::clone(&same.substance) };
        assert!(!desired.is(&Held { substance: Arc::new(deleting), ..same }));
    }

    #[test]
    fn what_somebody_else_adds_is_taken_out() {
        let desired = desired();
        let changed =
            held(&desired.patch("c"), &json!({ "channel": "other", "allowHeld": ["x"], "suspend": true }));
        assert!(!desired.is(&changed));
        let patch = desired.without_additions(&changed);
        assert_eq!(patch, Some(json!({ "spec": { "channel": null, "allowHeld": [] } })));
    }
}
