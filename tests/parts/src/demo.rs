//! The example repository in a local cluster, step by step as a person would do it.

use std::{
    fs::{self, File},
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use sluice_repo::testing::{Changes, Upstream};

use crate::{ControlPlane, GitHttps, folder::Folder, ports::Port, program::part, wait::until};

/// The project's root.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// What stands in [`REPOSITORY`] instead of the address that this demonstration serves Git at.
const EXAMPLE_URL: &str = "https://git.example.org/shop/releases.git";
const REPOSITORY: &str = "examples/cluster/repository.yaml";
const SYSTEM: &str = "sluice-system";
const PASSWORD: &str = "try-it-out";
const LIMIT: Duration = Duration::from_mins(2);

/// A control plane with the charts installed, the operator with the chart's identity, and `examples/shop` followed.
/// Everything ends when this is dropped.
#[derive(Debug)]
pub struct Demo {
    operator: Child,
    devices: Port,
    admin: Port,
    folder: Folder,
    control_plane: ControlPlane,
    git: GitHttps,
    _upstream: Upstream,
}

impl Demo {
    /// Starts everything and tells `out` each step. `program` is `sluice` itself.
    ///
    /// # Errors
    ///
    /// When `out` cannot be written.
    pub async fn start(program: &Path, out: &mut (impl Write + Send)) -> io::Result<Self> {
        let root = Path::new(ROOT).canonicalize()?;
        writeln!(
            out,
            "# A control plane without nodes (etcd, kube-apiserver), and `examples/shop` behind https"
        )?;
        let control_plane = ControlPlane::builder().with_controllers().start().await;
        let folder = Folder::new("demo", None);
        let upstream = shop(&root)?;
        let git = GitHttps::serve(&upstream, "robot", PASSWORD).await;
        folder.write("ca.crt", &git.certificate);
        writeln!(out, "export KUBECONFIG={}\n", control_plane.kubeconfig().display())?;
        let steps = Steps { root: &root, control_plane: &control_plane };

        writeln!(
            out,
            "# The platform team installs Sluice, and says which repository may publish which app"
        )?;
        steps.run(out, &["kubectl", "apply", "-f", "examples/cluster/namespace.yaml"], None)?;
        let (devices, admin) = (Port::claim(), Port::claim());
        let values = ["--set", &format!("devices.publicUrl=http://{}", devices.address())];
        let install = ["helm", "install", "sluice", "charts/sluice", "--namespace", SYSTEM];
        let notes = steps.quiet(out, &[&install[..], &values].concat())?;
        writeln!(out, "{}\n", notes.lines().find(|line| line.starts_with("Sluice ")).unwrap_or(&notes))?;
        let certificate = format!("--from-file=ca.crt={}", folder.path().join("ca.crt").display());
        let login = ["--from-literal=username=robot", &format!("--from-literal=password={PASSWORD}")];
        let secret = ["kubectl", "-n", "shop", "create", "secret", "generic", "shop-git"];
        steps.run(out, &[&secret[..], &login, &[&certificate]].concat(), None)?;
        let repository = fs::read_to_string(root.join(REPOSITORY))?.replace(EXAMPLE_URL, &git.url());
        writeln!(out, "$ sed 's|{EXAMPLE_URL}|{}|' {REPOSITORY} \\\n    | kubectl apply -f -", git.url())?;
        steps.feed(out, &["kubectl", "apply", "-f", "-"], Some(&repository))?;

        writeln!(out, "# No node runs the pod: its command runs here, with the ServiceAccount's token")?;
        let operator = steps.operator(out, program, &folder, [&devices, &admin]).await?;
        let demo = Self { operator, devices, admin, folder, control_plane, git, _upstream: upstream };
        let steps = Steps { root: &root, control_plane: &demo.control_plane };
        let ready = ["kubectl", "-n", "shop", "wait", "--for=condition=Ready", "--all", "--timeout=2m"];
        steps.run(
            out,
            &[&ready[..], &["repositories.sluice.dev,releases.sluice.dev,channels.sluice.dev"]].concat(),
            None,
        )?;
        let kinds = ["repositories.sluice.dev", "releases.sluice.dev", "channels.sluice.dev"];
        for kind in kinds {
            steps.run(out, &["kubectl", "-n", "shop", "get", kind], None)?;
        }

        writeln!(out, "# A phone on its shipped bundle asks for news")?;
        let (request, answer) = demo.phone().await;
        writeln!(
            out,
            "$ curl -s http://{}/updates -H 'Content-Type: application/json' \\\n    -d '{request}'",
            demo.devices()
        )?;
        writeln!(out, "{answer}\n")?;
        Ok(demo)
    }

    /// The kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> &Path {
        self.control_plane.kubeconfig()
    }

    /// The control plane, for further commands.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// Where the operator answers devices.
    pub fn devices(&self) -> SocketAddr {
        self.devices.address()
    }

    /// Where the operator answers people.
    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// A command that clones the repository that is followed, to push to it.
    pub fn clone_command(&self) -> String {
        let url = self.git.url().replacen("://", &format!("://robot:{PASSWORD}@"), 1);
        let certificate = self.folder.path().join("ca.crt");
        format!("git clone -c http.sslCAInfo={} {url} shop", certificate.display())
    }

    /// What the operator has logged.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("operator.log")
    }

    /// The folder of kubectl and Helm, to be put before `PATH`.
    pub fn tools() -> Vec<PathBuf> {
        ["kubectl", "helm"].iter().filter_map(|tool| Some(part(tool).parent()?.to_owned())).collect()
    }

    /// What a phone asks, and what it is answered.
    async fn phone(&self) -> (Value, Value) {
        let request = json!({
            "platform": "android", "device_id": "00000000-0000-4000-8000-000000000001",
            "app_id": "com.example.shop", "version_build": "1.0.0", "version_name": "builtin",
            "version_os": "16", "plugin_version": "8.51.23", "is_prod": true, "is_emulator": false,
        });
        let http = reqwest::Client::builder().no_proxy().build();
        let http = http.unwrap_or_else(|error| panic!("a client: {error}"));
        let sent = http.post(format!("http://{}/updates", self.devices())).json(&request).send().await;
        let sent = sent.unwrap_or_else(|error| panic!("devices are not answered: {error}"));
        let answer = sent.json().await;
        (request, answer.unwrap_or_else(|error| panic!("no JSON: {error}")))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.operator.kill();
        let _ = self.operator.wait();
    }
}

/// Commands from the project's root, each told before it runs.
struct Steps<'a> {
    root: &'a Path,
    control_plane: &'a ControlPlane,
}

impl Steps<'_> {
    /// Tells a command, runs it, and shows what it prints.
    fn run(&self, out: &mut impl Write, command: &[&str], input: Option<&str>) -> io::Result<()> {
        tell(out, command)?;
        self.feed(out, command, input)
    }

    /// Tells a command, runs it, and gives what it prints.
    fn quiet(&self, out: &mut impl Write, command: &[&str]) -> io::Result<String> {
        tell(out, command)?;
        Ok(self.output(command, None))
    }

    /// Runs a command, and shows what it prints.
    fn feed(&self, out: &mut impl Write, command: &[&str], input: Option<&str>) -> io::Result<()> {
        writeln!(out, "{}", self.output(command, input))
    }

    fn output(&self, command: &[&str], input: Option<&str>) -> String {
        let mut child = match command[0] {
            "helm" => crate::helm(self.control_plane),
            _ => crate::kubectl(self.control_plane),
        };
        child.current_dir(self.root).args(&command[1..]);
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut stdin = child.stdin.take().unwrap_or_else(|| panic!("its input"));
        stdin
            .write_all(input.unwrap_or_default().as_bytes())
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        drop(stdin);
        let output = child.wait_with_output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}\n{said}{complaint}");
        said
    }

    /// Starts the command of the chart's pod, and gives where it answers devices.
    async fn operator(
        &self,
        out: &mut impl Write,
        program: &Path,
        folder: &Folder,
        [devices, admin]: [&Port; 2],
    ) -> io::Result<Child> {
        let path = "jsonpath={.spec.template.spec.containers[0].args}";
        let arguments =
            self.output(&["kubectl", "-n", SYSTEM, "get", "deployment", "sluice", "-o", path], None);
        let arguments: Vec<String> =
            serde_json::from_str(&arguments).unwrap_or_else(|error| panic!("{error}: {arguments}"));
        // Its volume is a folder, and its ports are free ones.
        let data = folder.path().join("data").display().to_string();
        let arguments: Vec<String> = arguments
            .into_iter()
            .map(|argument| match argument.split_once('=') {
                Some(("--data", _)) => format!("--data={data}"),
                Some(("--listen", _)) => format!("--listen={}", devices.address()),
                Some(("--admin-listen", _)) => format!("--admin-listen={}", admin.address()),
                Some(("--hooks-listen", _)) => "--hooks-listen=127.0.0.1:0".to_owned(),
                _ => argument,
            })
            .collect();
        let kubeconfig = self.control_plane.kubeconfig_for(SYSTEM, "sluice").await;
        let shown: Vec<&str> = arguments.iter().map(String::as_str).collect();
        writeln!(out, "$ KUBECONFIG={} \\\n    sluice {}\n", kubeconfig.display(), shown.join(" "))?;
        let log = File::create(folder.path().join("operator.log"))?;
        let mut child = Command::new(program)
            .args(&arguments)
            .env_clear()
            .env("KUBECONFIG", &kubeconfig)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        until(LIMIT, "devices are answered", async || {
            let log = fs::read_to_string(folder.path().join("operator.log")).unwrap_or_default();
            assert!(matches!(child.try_wait(), Ok(None)), "the operator ended:\n{log}");
            TcpStream::connect(devices.address())
        })
        .await;
        Ok(child)
    }
}

/// Tells a command as it would be typed.
fn tell(out: &mut impl Write, command: &[&str]) -> io::Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,{}".contains(c);
    let word = |word: &&str| if word.chars().all(plain) { (*word).to_owned() } else { format!("'{word}'") };
    let words: Vec<String> = command.iter().map(word).collect();
    writeln!(out, "$ {}", words.join(" "))
}

/// `examples/shop` as a commit.
fn shop(root: &Path) -> io::Result<Upstream> {
    let upstream = Upstream::new();
    // What is served takes pushes.
    let allow = Command::new("git")
        .arg("-C")
        .arg(upstream.path())
        .args(["config", "http.receivepack", "true"])
        .status()?;
    assert!(allow.success(), "git config");
    let (mut changes, mut folders) = (Changes::new(), vec![root.join("examples/shop")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root.join("examples/shop")).map_err(io::Error::other)?;
                changes = changes.file(&name.display().to_string(), fs::read(&path)?);
            }
        }
    }
    upstream.commit(changes.message("Publish the corner shop"));
    Ok(upstream)
}
