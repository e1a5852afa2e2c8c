use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use rstest::rstest;
use serde_json::{Value, json};
use sluice_test_parts::ControlPlane;

fn kind(kind: &str) -> ApiResource {
    let plural = match kind {
        "Repository" => "repositories".to_owned(),
        other => format!("{}s", other.to_lowercase()),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("sluice.dev", "v1alpha1", kind), &plural)
}

fn release() -> Value {
    json!({ "app": "com.example.shop", "version": "1.4.2", "bundle": { "path": "bundles/1.4.2" } })
}

fn channel() -> Value {
    json!({ "app": "com.example.shop", "release": "1.4.2" })
}

fn rollback() -> Value {
    json!({ "channel": "shop", "digest": "0".repeat(64) })
}

/// What the server says of an object, and then of the same one with these changes.
async fn changed(of: &str, spec: &Value, changes: &Value) -> Result<Value, String> {
    let control_plane = ControlPlane::shared().await;
    control_plane.install_crds().await;
    let namespace = control_plane.namespace().await;
    let resource = kind(of);
    let api = Api::<DynamicObject>::namespaced_with(control_plane.client(), &namespace, &resource);
    let object = |spec: &Value| {
        let mut object = DynamicObject::new("x", &resource);
        object.data = json!({ "spec": spec });
        object
    };
    let apply = PatchParams::apply("tests").force();
    let made = api.patch("x", &apply, &Patch::Apply(object(spec))).await.unwrap();
    assert_eq!(made.name_any(), "x");
    let mut spec = spec.clone();
    for (key, value) in changes.as_object().unwrap() {
        spec[key] = value.clone();
    }
    match api.patch("x", &apply, &Patch::Apply(object(&spec))).await {
        Ok(changed) => Ok(changed.data["spec"].clone()),
        Err(error) => Err(error.to_string()),
    }
}

#[rstest]
#[case("Release", release(), json!({ "app": "com.example.other" }), "app is immutable")]
#[case("Release", release(), json!({ "version": "1.4.3" }), "version is immutable")]
#[case("Release", release(), json!({ "bundle": { "path": "b" } }), "bundle is immutable")]
#[case("Channel", channel(), json!({ "app": "com.example.other" }), "app is immutable")]
#[case("Rollback", rollback(), json!({ "channel": "other" }), "a Rollback is immutable")]
#[tokio::test]
async fn what_never_changes_is_refused(
    #[case] kind: &str,
    #[case] spec: Value,
    #[case] changes: Value,
    #[case] message: &str,
) {
    let refused = changed(kind, &spec, &changes).await.unwrap_err();
    assert!(refused.contains(message), "{refused}");
}

#[tokio::test]
async fn what_may_change_changes() {
    let moved = changed("Channel", &channel(), &json!({ "release": "1.4.3" })).await.unwrap();
    assert_eq!(moved["release"], "1.4.3");
    let noted = changed("Release", &release(), &json!({ "notes": "x" })).await.unwrap();
    assert_eq!(noted["notes"], "x");
}

#[rstest]
#[case("Channel", channel(), json!({ "releases": [{ "release": "1.0.0" }] }), "exactly one of release and releases")]
#[case("Channel", channel(), json!({ "rollout": { "steps": [{ "weight": "10%" }, { "weight": "2%" }] } }), "must rise")]
#[case("Channel", channel(), json!({ "rollout": { "steps": [{ "weight": "2%" }, { "weight": "2.0%" }] } }), "same weight")]
#[case("Channel", channel(), json!({ "rollout": { "steps": [{ "weight": "0%" }] } }), "0 % serves nobody")]
#[case("Channel", channel(), json!({ "rollout": { "strategy": "Steps" } }), "Steps")]
#[case("Channel", channel(), json!({ "app": "no dots" }), "should match")]
#[tokio::test]
async fn what_makes_no_sense_is_refused(
    #[case] kind: &str,
    #[case] spec: Value,
    #[case] changes: Value,
    #[case] message: &str,
) {
    let refused = changed(kind, &spec, &changes).await.unwrap_err();
    assert!(refused.contains(message), "{refused}");
}

#[tokio::test]
async fn a_repository_gets_its_defaults() {
    let spec = json!({
        "url": "https://git.example.org/shop.git",
        "apps": ["com.example.*"],
        "write": { "mode": "Auto" },
    });
    let made = changed("Repository", &spec, &json!({})).await.unwrap();
    assert_eq!(made["ref"], json!({ "branch": "main" }), "{made}");
}
