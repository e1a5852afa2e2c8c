//! What the charts render, as text: lint, refusals, and the rules that every manifest keeps.

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    NAMESPACE, Values, at, object, of_kind, offline_helm, render, run, sets, try_render_in,
};

#[test]
fn lint_finds_nothing() {
    let home = TempDir::new().unwrap();
    for (name, values) in sets() {
        let mut helm = offline_helm(&home);
        helm.args(["lint", "--strict"]).arg(at("charts/sluice")).args(values.arguments());
        let said = run(&mut helm);
        assert!(!said.contains("[WARNING]") && !said.contains("[ERROR]"), "{name}: {said}");
    }
    run(offline_helm(&home).args(["lint", "--strict"]).arg(at("charts/sluice-crds")));
}

#[test]
fn values_that_cannot_work_are_refused_with_the_one_to_set() {
    let large = || Values::new().set("operator.replicas=2");
    let store = "store.url=s3://bundles";
    let cases = [
        (large(), "set gateway.separate=true"),
        (large().set("gateway.separate=true"), "set store.url"),
        (large().set("gateway.separate=true").set(store), "set database.existingSecret"),
        (Values::new().set("gateway.separate=true"), "set store.url"),
        (Values::new().set("gateway.presign=15m"), "set gateway.separate=true"),
        (
            Values::new()
                .set("gateway.separate=true")
                .set(store)
                .set("gateway.presign=15m")
                .set("devices.downloadUrl=https://cdn.example.org"),
            "set one",
        ),
        (Values::new().set("devices.ingress.enabled=true"), "set devices.ingress.host"),
        (Values::new().set("devices.httpRoute.enabled=true"), "set devices.httpRoute.parentRefs"),
        (Values::new().set("hooks.ingress.enabled=true"), "set hooks.ingress.host"),
        (Values::new().set("hooks.httpRoute.enabled=true"), "set hooks.httpRoute.parentRefs"),
        (Values::new().set("operator.serviceAccount.create=false"), "operator.serviceAccount.name is needed"),
    ];
    for (values, advice) in cases {
        let refused = try_render_in(NAMESPACE, "charts/sluice", &values).unwrap_err();
        assert!(refused.contains(advice), "{values:?}: {refused}");
    }
}

#[test]
fn the_schema_refuses_unknown_keys_and_wrong_values() {
    let cases = [
        ("replicas=2", "'replicas'"),
        ("operator.replica=2", "'replica'"),
        ("gateway.autoscaling.max=3", "'max'"),
        ("devices.service.ports=80", "'ports'"),
        ("monitoring.prometheusRule.rules=1", "'rules'"),
        ("image.digest=latest", "/image/digest"),
        ("store.url=http://example.org", "/store/url"),
        ("store.url=file:///data", "/store/url"),
        ("operator.replicas=0", "/operator/replicas"),
        ("devices.publicUrl=ota.example.org", "/devices/publicUrl"),
        ("devices.service.type=ExternalName", "/devices/service/type"),
        ("log.format=xml", "/log/format"),
        ("admissionPolicy.actions={Refuse}", "/admissionPolicy/actions/0"),
        ("networkPolicy.operatorPorts={0}", "/networkPolicy/operatorPorts/0"),
        ("runAs.user=0", "/runAs/user"),
        ("reader.subjects[0].kind=Team", "/reader/subjects/0"),
    ];
    for (set, place) in cases {
        let refused = try_render_in(NAMESPACE, "charts/sluice", &Values::new().set(set)).unwrap_err();
        assert!(refused.contains(place), "{set}: {refused}");
    }
    let refused = try_render_in(NAMESPACE, "charts/sluice-crds", &Values::new().set("kept=1")).unwrap_err();
    assert!(refused.contains("'kept'"), "{refused}");
}

/// The pods of the objects, each with the name of what makes it.
pub fn pods(objects: &[Value]) -> Vec<(String, Value)> {
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    objects
        .iter()
        .filter_map(|object| match object["kind"].as_str()? {
            "Deployment" => Some((name(object), object["spec"]["template"]["spec"].clone())),
            "Pod" => Some((name(object), object["spec"].clone())),
            _ => None,
        })
        .collect()
}

#[test]
fn pods_hold_no_more_than_they_need() {
    for (set, values) in sets() {
        let objects = render(&values);
        let pods = pods(&objects);
        assert!(pods.len() >= 2, "{set}: the operator and the test");
        for (name, pod) in pods {
            let is_operator = pod["containers"][0]["args"][0] == "operator";
            assert_eq!(pod["automountServiceAccountToken"], is_operator, "{set} {name}: whose token");
            assert_eq!(pod["securityContext"]["runAsUser"], 65532, "{set} {name}");
            let container = &pod["containers"][0];
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{set} {name}");
            assert!(container["resources"]["limits"]["memory"].is_string(), "{set} {name}");
            let mounts = container["volumeMounts"].as_array().unwrap();
            assert!(mounts.iter().any(|mount| mount["mountPath"] == "/tmp"), "{set} {name}");
            for volume in pod["volumes"].as_array().unwrap() {
                assert!(
                    volume["emptyDir"].is_object()
                        || volume["secret"].is_object()
                        || volume["persistentVolumeClaim"].is_object(),
                    "{set} {name}: {volume}"
                );
            }
        }
        for account in of_kind(&objects, "ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{set}");
        }
    }
}

#[test]
fn every_service_and_route_leads_to_a_port_of_a_pod() {
    for (set, values) in sets() {
        let objects = render(&values);
        for service in of_kind(&objects, "Service") {
            let (name, selector) = (&service["metadata"]["name"], &service["spec"]["selector"]);
            let deployment = of_kind(&objects, "Deployment")
                .into_iter()
                .find(|deployment| contains(&deployment["spec"]["template"]["metadata"]["labels"], selector))
                .unwrap_or_else(|| panic!("{set}: {name} selects nothing"));
            let ports = &deployment["spec"]["template"]["spec"]["containers"][0]["ports"];
            let target = &service["spec"]["ports"][0]["targetPort"];
            assert!(
                ports.as_array().unwrap().iter().any(|port| port["name"] == *target),
                "{set}: {name} leads to {target}, which is not among {ports}"
            );
        }
        let backends = objects.iter().flat_map(|object| match object["kind"].as_str() {
            Some("Ingress") => object["spec"]["rules"][0]["http"]["paths"]
                .as_array()
                .unwrap()
                .iter()
                .map(|path| &path["backend"]["service"])
                .map(|service| (service["name"].clone(), service["port"]["number"].clone()))
                .collect::<Vec<_>>(),
            Some("HTTPRoute") => {
                let backend = &object["spec"]["rules"][0]["backendRefs"][0];
                vec![(backend["name"].clone(), backend["port"].clone())]
            }
            _ => Vec::new(),
        });
        for (name, port) in backends {
            let service = object(&objects, "Service", name.as_str().unwrap());
            assert_eq!(service["spec"]["ports"][0]["port"], port, "{set}: {name}");
        }
    }
}

/// Whether each entry of the second map is in the first.
fn contains(labels: &Value, selector: &Value) -> bool {
    selector.as_object().unwrap().iter().all(|(key, value)| labels[key] == *value)
}

#[test]
fn disruption_budgets_guard_what_there_are_several_of() {
    assert!(of_kind(&render(&Values::new()), "PodDisruptionBudget").is_empty(), "a drain would never end");
    let large = render(
        &Values::new()
            .file("charts/sluice/profiles/values-large.yaml")
            .set("store.url=gs://bundles")
            .set("database.existingSecret=postgres"),
    );
    assert_eq!(of_kind(&large, "PodDisruptionBudget").len(), 2);
    assert!(
        object(&large, "Deployment", "sluice-gateway")["spec"]["replicas"].is_null(),
        "the scaler counts"
    );
    assert_eq!(object(&large, "HorizontalPodAutoscaler", "sluice-gateway")["spec"]["minReplicas"], 4);
    assert!(of_kind(&large, "PersistentVolumeClaim").is_empty(), "two pods cannot share a claim");
}

#[test]
fn the_image_comes_from_where_the_values_say() {
    let images = |values: Values| -> Vec<String> {
        pods(&render(&values))
            .iter()
            .map(|(_, pod)| pod["containers"][0]["image"].as_str().unwrap().to_owned())
            .collect()
    };
    let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    for image in images(Values::new().fixture("everything.yaml")) {
        assert_eq!(image, format!("registry.example.org/mirror/sluice@{digest}"));
    }
    for image in
        images(Values::new().set("image.registry=").set("image.repository=sluice").set("image.tag=dev"))
    {
        assert_eq!(image, "sluice:dev");
    }
}

#[test]
fn the_public_url_follows_the_routes() {
    let argument = |values: Values| {
        let objects = render(&values);
        let args =
            object(&objects, "Deployment", "sluice")["spec"]["template"]["spec"]["containers"][0]["args"]
                .clone();
        let args: Vec<String> = serde_json::from_value(args).unwrap();
        args.iter().find_map(|argument| argument.strip_prefix("--public-url=").map(str::to_owned)).unwrap()
    };
    let ingress =
        || Values::new().set("devices.ingress.enabled=true").set("devices.ingress.host=ota.example.org");
    assert_eq!(argument(Values::new()), "http://sluice.sluice-system.svc");
    assert_eq!(
        argument(Values::new().set("devices.tls.existingSecret=tls")),
        "https://sluice.sluice-system.svc"
    );
    assert_eq!(argument(ingress()), "http://ota.example.org");
    assert_eq!(argument(ingress().set("devices.ingress.tlsSecret=ota")), "https://ota.example.org");
    assert_eq!(argument(ingress().set("devices.publicUrl=https://a.example.org/")), "https://a.example.org");
    let route = || {
        Values::new().set("devices.httpRoute.enabled=true").set("devices.httpRoute.parentRefs[0].name=public")
    };
    let inside = "http://sluice.sluice-system.svc";
    assert_eq!(
        argument(route().set("devices.httpRoute.hostnames={ota.example.org}")),
        "https://ota.example.org"
    );
    assert_eq!(argument(route()), inside);
    assert_eq!(argument(route().set("devices.httpRoute.hostnames={*.example.org}")), inside);
}
