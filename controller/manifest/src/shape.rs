//! The schemas of the resource types, in a form that is quick to check documents against.
//!
//! They are made from the definitions that clusters install, so that Git and `kubectl apply` never disagree about a
//! name, a bound or a choice. What a schema can only say as a pattern is a function here, which can give a reason.

use std::sync::OnceLock;

use serde_json::Value;

use crate::values::{self, Check};

/// What a node must be.
#[derive(Debug)]
pub(crate) enum Shape {
    /// Text.
    Text(Text),
    /// A whole number.
    Whole { least: i64, most: i64 },
    /// A truth value.
    Flag,
    /// A list; `distinct` when nothing may stand in it twice.
    List { items: Box<Shape>, least: usize, most: usize, distinct: bool },
    /// A mapping with known fields.
    Object(Object),
    /// A mapping with free keys.
    Map { values: Text, most: usize, nullable: bool },
    /// A field whose meaning a later release brings.
    Reserved,
    /// Anything; it is not looked at.
    Any,
}

/// What a text must be.
#[derive(Debug)]
pub(crate) struct Text {
    /// Characters at least.
    pub(crate) least: usize,
    /// Characters at most.
    pub(crate) most: usize,
    /// The words that are allowed; empty: all.
    pub(crate) choices: Vec<String>,
    /// What else it must be.
    pub(crate) check: Option<Check>,
}

/// A mapping with known fields.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) fields: Vec<(String, Shape)>,
    pub(crate) required: Vec<String>,
}

impl Object {
    /// The shape of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&Shape> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, shape)| shape)
    }

    /// Names of the fields.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    /// The path, below this object, of a field of this name that stands deeper.
    pub(crate) fn deeper(&self, name: &str) -> Option<String> {
        self.fields.iter().find_map(|(field, shape)| {
            let (object, step) = match shape {
                Shape::Object(object) => (object, field.clone()),
                Shape::List { items, .. } => match &**items {
                    Shape::Object(object) => (object, format!("{field}[]")),
                    _ => return None,
                },
                _ => return None,
            };
            let below =
                if object.field(name).is_some() { Some(name.to_owned()) } else { object.deeper(name) };
            below.map(|rest| format!("{step}.{rest}"))
        })
    }
}

/// The kinds that Git may hold.
#[derive(Debug)]
pub(crate) struct Shapes {
    pub(crate) release: Object,
    pub(crate) channel: Object,
}

/// The shapes of whole documents.
pub(crate) fn shapes() -> &'static Shapes {
    static SHAPES: OnceLock<Shapes> = OnceLock::new();
    SHAPES.get_or_init(|| Shapes { release: document("Release"), channel: document("Channel") })
}

/// The functions that stand for patterns, by field.
const CHECKS: &[(&str, Check)] = &[
    ("Release.spec.app", values::app),
    ("Release.spec.version", values::version),
    ("Release.spec.bundle.https.url", values::https),
    ("Release.spec.bundle.https.sha256", values::sha256),
    ("Release.spec.bundle.oci.digest", values::oci_digest),
    ("Release.spec.requires.native", values::native_range),
    ("Release.spec.link", values::link),
    ("Channel.spec.app", values::app),
    ("Channel.spec.channel", values::channel),
    ("Channel.spec.release", values::target),
    ("Channel.spec.releases[].native", values::native_range),
    ("Channel.spec.releases[].release", values::target),
    ("Channel.spec.rollout.steps[].weight", values::weight),
    ("Channel.spec.rollout.steps[].soak", values::duration),
    ("Channel.spec.rollout.window.from", values::time_of_day),
    ("Channel.spec.rollout.window.to", values::time_of_day),
    ("Channel.spec.rollout.window.timeZone", values::time_zone),
    ("Channel.spec.rollout.notBefore", values::timestamp),
    ("Channel.spec.rollout.maxHold", values::duration),
    ("Channel.spec.gate.alpha", values::share),
    ("Channel.spec.gate.horizon", values::duration),
    ("Channel.spec.gate.margin", values::share),
    ("Channel.spec.approvals[].release", values::version),
    ("Channel.spec.urgent.release", values::version),
];

/// The same for the fields of an audience, of a channel and of a step.
const AUDIENCE_CHECKS: &[(&str, Check)] = &[
    ("native", values::native_range),
    ("os", values::native_range),
    ("plugin", values::native_range),
    ("customIds[]", values::custom_id),
    ("deviceIds[]", values::device_id),
    ("locales[]", values::locale),
    ("countries[]", values::country),
];

/// Where audiences stand.
const AUDIENCES: &[&str] = &["Channel.spec.audience.", "Channel.spec.rollout.steps[].audience."];

/// The function that stands for the pattern of a field.
fn check(path: &str) -> Option<Check> {
    let of = |checks: &[(&str, Check)], path| {
        checks.iter().find(|(field, _)| *field == path).map(|(_, check)| *check)
    };
    of(CHECKS, path).or_else(|| {
        let field = AUDIENCES.iter().find_map(|audience| path.strip_prefix(audience))?;
        of(AUDIENCE_CHECKS, field)
    })
}

/// Fields that are named already and not served yet.
const RESERVED: &[&str] = &["Channel.spec.encryption", "Channel.spec.require"];

fn document(kind: &str) -> Object {
    let schema = sluice_crds::crds()
        .into_iter()
        .find(|crd| crd.spec.names.kind == kind)
        .and_then(|crd| {
            serde_json::to_value(&crd.spec.versions.first()?.schema.as_ref()?.open_api_v3_schema).ok()
        })
        .expect("every kind has a schema");
    let spec = shape(&schema["properties"]["spec"], &format!("{kind}.spec"));
    let fields = vec![
        ("apiVersion".to_owned(), Shape::Any),
        ("kind".to_owned(), Shape::Any),
        ("metadata".to_owned(), Shape::Object(metadata())),
        ("spec".to_owned(), spec),
        ("status".to_owned(), Shape::Any),
    ];
    Object { fields, required: vec!["metadata".to_owned(), "spec".to_owned()] }
}

/// `metadata`, whose schema the API server keeps to itself. What it fills in by itself is tolerated.
fn metadata() -> Object {
    let text = |most, check: Option<Check>| Text { least: 1, most, choices: Vec::new(), check };
    let map = |most| Shape::Map { values: Text { least: 0, ..text(most, None) }, most: 256, nullable: true };
    let mut fields = vec![
        ("name".to_owned(), Shape::Text(text(253, Some(values::object_name)))),
        ("namespace".to_owned(), Shape::Text(text(63, Some(values::namespace)))),
        ("labels".to_owned(), map(63)),
        ("annotations".to_owned(), map(262_144)),
    ];
    for name in [
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    ] {
        fields.push((name.to_owned(), Shape::Any));
    }
    Object { fields, required: vec!["name".to_owned()] }
}

/// The shape that a schema of the definition describes. `path` names it in [`CHECKS`] and [`RESERVED`].
fn shape(schema: &Value, path: &str) -> Shape {
    if RESERVED.contains(&path) {
        return Shape::Reserved;
    }
    let count = |key: &str, otherwise: usize| {
        schema[key].as_u64().map_or(otherwise, |n| usize::try_from(n).unwrap_or(usize::MAX))
    };
    match schema["type"].as_str() {
        Some("string") => Shape::Text(text(schema, path)),
        Some("boolean") => Shape::Flag,
        Some("integer") => Shape::Whole {
            least: schema["minimum"].as_f64().map_or(i64::MIN, whole),
            most: schema["maximum"].as_f64().map_or(i64::MAX, whole),
        },
        Some("array") => Shape::List {
            items: Box::new(shape(&schema["items"], &format!("{path}[]"))),
            least: count("minItems", 0),
            most: count("maxItems", usize::MAX),
            distinct: schema["x-kubernetes-list-type"] == "set",
        },
        Some("object") if schema["properties"].is_object() => {
            let mut fields = Vec::new();
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                fields.push((name.clone(), shape(field, &format!("{path}.{name}"))));
            }
            Shape::Object(Object { fields, required: words(&schema["required"]) })
        }
        Some("object") => Shape::Map {
            values: text(&schema["additionalProperties"], path),
            most: count("maxProperties", usize::MAX),
            nullable: false,
        },
        _ => Shape::Any,
    }
}

fn text(schema: &Value, path: &str) -> Text {
    let count = |key: &str, otherwise: usize| {
        schema[key].as_u64().map_or(otherwise, |n| usize::try_from(n).unwrap_or(usize::MAX))
    };
    Text {
        least: count("minLength", 0),
        most: count("maxLength", usize::MAX),
        choices: words(&schema["enum"]),
        check: check(path),
    }
}

fn words(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "bounds of the schemas are small whole numbers")]
fn whole(number: f64) -> i64 {
    number as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `see` with every schema from `schema` on, and its path.
    fn texts(schema: &Value, path: &str, see: &mut impl FnMut(&str, &Value)) {
        see(path, schema);
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            texts(field, &format!("{path}.{name}"), see);
        }
        if schema["items"].is_object() {
            texts(&schema["items"], &format!("{path}[]"), see);
        }
    }

    #[test]
    fn every_pattern_has_a_check_and_every_check_a_field() {
        let mut unused: Vec<String> = CHECKS
            .iter()
            .map(|(field, _)| *field)
            .chain(RESERVED.iter().copied())
            .map(str::to_owned)
            .collect();
        for audience in AUDIENCES {
            unused.extend(AUDIENCE_CHECKS.iter().map(|(field, _)| format!("{audience}{field}")));
        }
        for crd in sluice_crds::crds() {
            let kind = crd.spec.names.kind.clone();
            if kind != "Release" && kind != "Channel" {
                continue;
            }
            let schema =
                serde_json::to_value(&crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema)
                    .unwrap();
            let spec = &schema["properties"]["spec"];
            for name in spec["properties"].as_object().unwrap().keys() {
                unused.retain(|field| {
                    *field != format!("{kind}.spec.{name}") || !RESERVED.contains(&field.as_str())
                });
            }
            texts(spec, &format!("{kind}.spec"), &mut |path, schema| {
                let reserved = RESERVED.iter().any(|r| path.starts_with(r));
                let checked = check(path).is_some();
                let is_text = schema["type"] == "string";
                let patterned = is_text && (schema["pattern"].is_string() || schema["format"].is_string());
                assert!(!patterned || checked || reserved, "{path} has a pattern and no check");
                unused.retain(|field| *field != path);
            });
        }
        assert_eq!(unused, Vec::<String>::new(), "no such field");
    }
}
