//! Against a real API server, with the rights that the operator has and no more.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::json;
use sluice_test_parts::{ControlPlane, Proxy};

use super::*;

/// The operator, somebody who may read everything, somebody who may read in one namespace, somebody who may not, and
/// somebody who may list and not get.
const PEOPLE: &str = r"
apiVersion: v1
kind: ServiceAccount
metadata: { name: operator }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: reader }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: neighbour }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: stranger }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: NAMESPACE-operator }
rules:
- { apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create] }
- { apiGroups: [authorization.k8s.io], resources: [subjectaccessreviews], verbs: [create] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: NAMESPACE-operator }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAMESPACE-operator }
subjects: [{ kind: ServiceAccount, name: operator, namespace: NAMESPACE }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: NAMESPACE-reader }
rules:
- { apiGroups: [sluice.dev], resources: [channels], verbs: [get] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: NAMESPACE-reader }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAMESPACE-reader }
subjects: [{ kind: ServiceAccount, name: reader, namespace: NAMESPACE }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: neighbour }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAMESPACE-reader }
subjects: [{ kind: ServiceAccount, name: neighbour, namespace: NAMESPACE }]
";

struct World {
    plane: &'static ControlPlane,
    namespace: String,
    reviewer: Reviewer,
}

async fn world() -> World {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace().await;
    plane.apply_yaml_in(&namespace, &PEOPLE.replace("NAMESPACE", &namespace)).await;
    let kubeconfig = plane.kubeconfig_for(&namespace, "operator").await;
    let reviewer = Reviewer::new(plane.client_of(&kubeconfig).await);
    World { plane, namespace, reviewer }
}

impl World {
    async fn token(&self, account: &str, audiences: &[&str]) -> String {
        self.plane.token_for(&self.namespace, account, audiences).await
    }

    fn allowed(&self, account: &str) -> Verdict {
        Verdict::Allowed { user: format!("system:serviceaccount:{}:{account}", self.namespace) }
    }

    /// A token of the reader as the API server makes it, with another end.
    async fn signed(&self, seconds: i64) -> String {
        let account = Api::<ServiceAccount>::namespaced(self.plane.client(), &self.namespace);
        let uid = account.get("reader").await.unwrap().metadata.uid.unwrap();
        let now = jiff::Timestamp::now().as_second();
        let claims = json!({
            "iss": "https://kubernetes.default.svc",
            "aud": [AUDIENCE],
            "sub": format!("system:serviceaccount:{}:reader", self.namespace),
            "iat": now - 7200, "nbf": now - 7200, "exp": now + seconds,
            "kubernetes.io": { "namespace": self.namespace, "serviceaccount": { "name": "reader", "uid": uid } },
        });
        let pem = std::fs::read(self.plane.folder().join("sa.key")).unwrap();
        let key = EncodingKey::from_ec_pem(&pem).unwrap();
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap()
    }
}

#[tokio::test]
async fn the_right_audience_and_the_right_to_read_open() {
    let world = world().await;
    let reviewer = &world.reviewer;
    let token = world.token("reader", &[AUDIENCE]).await;
    assert_eq!(reviewer.review(&token, &Act::Read).await, world.allowed("reader"));
    let user = format!("system:serviceaccount:{}:reader", world.namespace);
    let erase = Act::Devices { verb: "delete" };
    assert_eq!(reviewer.review(&token, &erase).await, Verdict::Forbidden { user }, "reading is not erasing");
    assert_eq!(
        reviewer.review(&token, &Act::Read).await,
        world.allowed("reader"),
        "one no is not a no to all"
    );
    let both = world.token("reader", &["other", AUDIENCE]).await;
    assert_eq!(reviewer.review(&both, &Act::Read).await, world.allowed("reader"));

    for account in ["neighbour", "stranger"] {
        let token = world.token(account, &[AUDIENCE]).await;
        let user = format!("system:serviceaccount:{}:{account}", world.namespace);
        assert_eq!(reviewer.review(&token, &Act::Read).await, Verdict::Forbidden { user });
    }
}

/// Somebody who may stop one app of a namespace.
const STOPPER: &str = r"
apiVersion: v1
kind: ServiceAccount
metadata: { name: stopper }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: stopper }
rules:
- { apiGroups: [sluice.dev], resources: [brakes], verbs: [create], resourceNames: [com.example.shop] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: stopper }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: stopper }
subjects: [{ kind: ServiceAccount, name: stopper, namespace: NAMESPACE }]
";

#[tokio::test]
async fn the_right_to_stop_is_of_one_app_and_of_nothing_else() {
    let world = world().await;
    world.plane.apply_yaml_in(&world.namespace, &STOPPER.replace("NAMESPACE", &world.namespace)).await;
    let token = world.token("stopper", &[AUDIENCE]).await;
    let brake = |namespace: Option<&str>, app: Option<&str>| Act::Brake {
        namespace: namespace.map(str::to_owned),
        app: app.map(str::to_owned),
    };
    let user = format!("system:serviceaccount:{}:stopper", world.namespace);
    let (here, app) = (Some(world.namespace.as_str()), Some("com.example.shop"));
    for (act, may) in [
        (Act::Appear, true),
        (brake(here, app), true),
        (brake(here, Some("com.example.bank")), false),
        (brake(here, None), false),
        (brake(Some("default"), app), false),
        (brake(None, app), false),
        (Act::Read, false),
    ] {
        let user = user.clone();
        let verdict = if may { Verdict::Allowed { user } } else { Verdict::Forbidden { user } };
        assert_eq!(world.reviewer.review(&token, &act).await, verdict, "{act:?}");
    }
}

#[tokio::test]
async fn other_tokens_open_nothing() {
    let world = world().await;
    let good = world.token("reader", &[AUDIENCE]).await;
    let (head, signature) = good.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    for (what, token) in [
        ("for the API server", world.token("reader", &[]).await),
        ("for another audience", world.token("reader", &["elsewhere"]).await),
        ("with another signature", format!("{head}.{flipped}{}", &signature[1..])),
        ("without a signature", format!("{head}.")),
        ("expired", world.signed(-3600).await),
        ("made up", "nonsense".to_owned()),
        ("empty", String::new()),
        ("with spaces", format!("{good} {good}")),
        ("endless", "a".repeat(LONGEST + 1)),
    ] {
        assert_eq!(world.reviewer.review(&token, &Act::Read).await, Verdict::Unknown, "{what}");
    }
    // What made the expired one is right but for the end.
    assert_eq!(world.reviewer.review(&world.signed(3600).await, &Act::Read).await, world.allowed("reader"));
}

#[tokio::test]
async fn a_yes_is_remembered_and_an_outage_is_no_answer() {
    let world = world().await;
    let (known, new) =
        (world.token("reader", &[AUDIENCE]).await, world.token("reader", &[AUDIENCE, "x"]).await);
    let proxy = Proxy::to(world.plane.address()).await;
    let kubeconfig = world.plane.kubeconfig_for(&world.namespace, "operator").await;
    let kubeconfig = world.plane.kubeconfig_via(&proxy, &kubeconfig);
    let reviewer = Reviewer::new(world.plane.client_of(&kubeconfig).await);
    assert_eq!(reviewer.review(&known, &Act::Read).await, world.allowed("reader"));
    proxy.refuse().await;
    assert_eq!(reviewer.review(&known, &Act::Read).await, world.allowed("reader"));
    let verdict = reviewer.review(&new, &Act::Read).await;
    let Verdict::Unavailable { detail } = &verdict else { panic!("{verdict:?}") };
    assert!(detail.contains("cannot be reached") && !format!("{verdict:?}").contains(&new), "{detail}");
    proxy.heal().await;
    assert_eq!(
        reviewer.review(&new, &Act::Read).await,
        world.allowed("reader"),
        "an outage is not remembered"
    );
}

#[tokio::test]
async fn an_operator_without_the_rights_says_which() {
    let world = world().await;
    let token = world.token("reader", &[AUDIENCE]).await;
    let kubeconfig = world.plane.kubeconfig_for(&world.namespace, "stranger").await;
    let reviewer = Reviewer::new(world.plane.client_of(&kubeconfig).await);
    let verdict = reviewer.review(&token, &Act::Read).await;
    let Verdict::Unavailable { detail } = verdict else { panic!("{verdict:?}") };
    assert!(detail.contains("may not create tokenreviews"), "{detail}");
}
