//! Running the tools, and reading what they print.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize as _;
use serde_json::Value;
use sluice_test_parts::{ControlPlane, part};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// The project's root.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// Fixtures of these tests.
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/charts/fixtures");
/// The namespace of releases that are only rendered.
pub const NAMESPACE: &str = "sluice-system";

/// A path from the project's root.
pub fn at(path: &str) -> PathBuf {
    Path::new(ROOT).join(path)
}

/// A text of the project.
pub fn read(path: &str) -> String {
    fs::read_to_string(at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A fixture's path.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(FIXTURES).join(name)
}

/// Runs a command and gives what it printed, or, when it failed, what it complained about.
pub fn try_run(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(text(&output.stderr) + &text(&output.stdout))
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) -> String {
    try_run(command).unwrap_or_else(|error| panic!("{command:?}\n{error}"))
}

/// Runs a command with this input.
pub fn try_feed(command: &mut Command, input: &str) -> Result<String, String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(text(&output.stderr) + &text(&output.stdout))
}

/// The documents of a YAML text, without empty ones.
pub fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).unwrap_or_else(|error| panic!("{error}\n{text}")))
        .filter(|document| !document.is_null())
        .collect()
}

/// What is set for a release: files from the root and single values.
#[derive(Clone, Debug, Default)]
pub struct Values {
    files: Vec<PathBuf>,
    sets: Vec<String>,
}

impl Values {
    /// Nothing but the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file, from the project's root.
    pub fn file(mut self, path: &str) -> Self {
        self.files.push(at(path));
        self
    }

    /// Adds a fixture.
    pub fn fixture(mut self, name: &str) -> Self {
        self.files.push(fixture(name));
        self
    }

    /// Adds a value, as `--set` takes it.
    pub fn set(mut self, value: &str) -> Self {
        self.sets.push(value.to_owned());
        self
    }

    /// The arguments for Helm.
    pub fn arguments(&self) -> Vec<String> {
        let files = self.files.iter().flat_map(|file| ["--values".to_owned(), file.display().to_string()]);
        let sets = self.sets.iter().flat_map(|value| ["--set".to_owned(), value.clone()]);
        files.chain(sets).collect()
    }
}

/// Helm without a cluster. It reads no settings of the machine.
pub fn offline_helm(home: &TempDir) -> Command {
    let mut command = Command::new(part("helm"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home.path());
    command
}

/// Renders a chart as release `sluice`.
pub fn try_render_in(namespace: &str, chart: &str, values: &Values) -> Result<String, String> {
    let home = TempDir::new().unwrap();
    let mut helm = offline_helm(&home);
    helm.args(["template", "sluice"]).arg(at(chart)).args(["--namespace", namespace]);
    // The version of the tests' API server. Helm itself claims one that is too old when nobody stamped it.
    helm.args(["--kube-version", "1.35.4"]).args(values.arguments());
    try_run(&mut helm)
}

/// Renders the chart `sluice`, which must succeed.
pub fn render(values: &Values) -> Vec<Value> {
    documents(&render_in(NAMESPACE, values))
}

/// Renders the chart `sluice` as text.
pub fn render_in(namespace: &str, values: &Values) -> String {
    try_render_in(namespace, "charts/sluice", values).unwrap_or_else(|error| panic!("{values:?}\n{error}"))
}

/// The objects of a kind.
pub fn of_kind<'o>(objects: &'o [Value], kind: &str) -> Vec<&'o Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The object of this kind and name.
pub fn object<'o>(objects: &'o [Value], kind: &str, name: &str) -> &'o Value {
    objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// The sets of values that every check of manifests goes through, by name.
pub fn sets() -> Vec<(&'static str, Values)> {
    let store = ["store.url=s3://bundles/production", "database.existingSecret=sluice-postgres"];
    let scaled = |profile: &str| {
        store.iter().fold(
            Values::new().file(&format!("charts/sluice/profiles/values-{profile}.yaml")),
            |values, set| values.set(set),
        )
    };
    vec![
        ("defaults", Values::new()),
        ("small", Values::new().file("charts/sluice/profiles/values-small.yaml")),
        ("medium", scaled("medium")),
        ("large", scaled("large")),
        ("everything", Values::new().fixture("everything.yaml")),
        ("namespaced", Values::new().fixture("namespaced.yaml")),
        ("example", Values::new().file("examples/cluster/values.yaml")),
        (
            "scaled example",
            Values::new()
                .file("charts/sluice/profiles/values-large.yaml")
                .file("examples/cluster/values-scaled.yaml"),
        ),
    ]
}

/// The control plane that tests share which bring the definitions and kinds of other projects along.
pub async fn cluster() -> &'static ControlPlane {
    static READY: OnceCell<&'static ControlPlane> = OnceCell::const_new();
    READY
        .get_or_init(async || {
            let cluster = ControlPlane::shared().await;
            cluster.install_crds().await;
            let kinds = fs::read_to_string(fixture("kinds.yaml")).unwrap();
            cluster.apply_yaml(&kinds).await;
            cluster
        })
        .await
}

/// A control plane with the controllers of a cluster, for tests that Helm installs the definitions in.
pub async fn cluster_with_controllers() -> &'static ControlPlane {
    static READY: OnceCell<ControlPlane> = OnceCell::const_new();
    READY.get_or_init(async || ControlPlane::builder().with_controllers().start().await).await
}
