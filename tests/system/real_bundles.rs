//! Web apps that nobody here wrote, by real `git push` over smart HTTP and SSH, on phones file by file.
//!
//! The packages come from the registry the first time, and from `target/npm` after that.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use secrecy::ExposeSecret as _;
use serde_json::Value;
use sluice_repo::{
    Access, Credentials,
    testing::{SmartHttp, Sshd},
};

use crate::support::{Server, World, index, phone, read_tree, run_unzip, sha256, tool};

/// A package that ships a built web app.
struct Package {
    name: &'static str,
    /// Two versions, one after the other.
    versions: [&'static str; 2],
    /// The folder of the package that is the web app.
    root: &'static str,
}

const SWAGGER: Package = Package { name: "swagger-ui-dist", versions: ["5.34.0", "5.35.0"], root: "." };
/// More than a thousand files, and no page of its own.
const MONACO: Package = Package { name: "monaco-editor", versions: ["0.55.0", "0.55.1"], root: "esm" };

impl Package {
    fn app(&self) -> String {
        format!("org.npmjs.{}", self.name)
    }

    /// The files of one version, with a page when it has none.
    fn files(&self, version: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = read_tree(&fetched(self.name, version).join(self.root));
        files.entry("index.html".to_owned()).or_insert_with(|| index(self.name).into_bytes());
        files
    }

    fn documents(&self, version: &str) -> [(String, String); 2] {
        let (name, app) = (self.name, self.app());
        let head = "apiVersion: sluice.dev/v1alpha1\nkind:";
        let release = format!(
            "{head} Release\nmetadata:\n  name: {name}-{version}\nspec:\n  app: {app}\n  version: {version}\n  bundle:\n    path: \
             ../web/{name}-{version}\n"
        );
        let channel = format!(
            "{head} Channel\nmetadata:\n  name: {name}\nspec:\n  app: {app}\n  channel: production\n  release: {version}\n  \
             public: true\n  native: {{ upgrade: Any }}\n"
        );
        [(format!("releases/{name}-{version}.yaml"), release), (format!("channels/{name}.yaml"), channel)]
    }
}

/// The unpacked package, from `target/npm` or else from the registry.
fn fetched(name: &str, version: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // Whoever failed while holding it has left nothing half-made under the final name.
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("npm");
    let done = cache.join(format!("{name}-{version}"));
    if !done.exists() {
        fs::create_dir_all(&cache).unwrap();
        let fresh = tempfile::tempdir_in(&cache).unwrap();
        let package = format!("{name}@{version}");
        let npm = ["pack", &package, "--silent", "--ignore-scripts", "--pack-destination", "."];
        tool(Command::new("npm").args(npm).current_dir(fresh.path()));
        tool(Command::new("tar").args(["-xzf", &format!("{name}-{version}.tgz")]).current_dir(fresh.path()));
        fs::rename(fresh.path().join("package"), &done).unwrap();
    }
    done
}

/// A clone that pushes to an address.
struct Clone {
    folder: PathBuf,
    ssh: Option<String>,
}

impl Clone {
    fn new(world: &World, url: &str, ssh: Option<String>) -> Self {
        let clone = Self { folder: world.file("clone"), ssh };
        fs::create_dir(&clone.folder).unwrap();
        clone.git(&["init", "-q", "-b", "main"]);
        clone.git(&["remote", "add", "origin", url]);
        clone
    }

    fn git(&self, arguments: &[&str]) {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(&self.folder)
            .envs(self.ssh.iter().map(|ssh| ("GIT_SSH_COMMAND", ssh)));
        for (name, value) in
            [("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_TERMINAL_PROMPT", "0")]
        {
            command.env(name, value);
        }
        for role in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{role}_NAME"), "Ada Example")
                .env(format!("GIT_{role}_EMAIL"), "ada@example.org");
        }
        tool(&mut command);
    }

    /// Commits one version of each package, and pushes.
    fn push(&self, packages: &[&Package], which: usize) {
        for package in packages {
            let version = package.versions[which];
            let folder = format!("web/{}-{version}", package.name);
            for (path, content) in package.files(version) {
                self.write(&format!("{folder}/{path}"), &content);
            }
            for (path, text) in package.documents(version) {
                self.write(&path, text.as_bytes());
            }
        }
        self.git(&["add", "-A", "-f"]);
        self.git(&["commit", "-q", "-m", "Publish"]);
        self.git(&["push", "-q", "origin", "main"]);
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// Downloads what is served of a package and compares every file.
fn compare(server: &Server, package: &Package, which: usize) {
    let version = package.versions[which];
    let phone =
        phone(1).with("app_id", package.app()).with("version_build", "0.1.0").with("version_name", "0.1.0");
    let answer: Value = phone.awaits(server, version);
    let zip = server.download(&answer);
    assert_eq!(answer["checksum"], sha256(&zip), "{} {version}", package.name);
    let (expected, found) = (package.files(version), run_unzip(&zip));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected), "{} {version}", package.name);
    for (path, content) in expected {
        assert!(found[&path] == content, "{} {version}: {path} has other bytes", package.name);
    }
}

/// Pushes both versions one after the other and has a phone follow.
fn follow(world: &World, clone: &Clone, packages: &[&Package], serve: impl FnOnce() -> Server) {
    // Pushes are taken from everyone: the addresses are this test's own.
    let upstream = world.upstream.path();
    tool(Command::new("git").arg("-C").arg(&upstream).args(["config", "http.receivepack", "true"]));
    clone.push(packages, 0);
    let server = serve();
    for package in packages {
        compare(&server, package, 0);
    }
    clone.push(packages, 1);
    for package in packages {
        compare(&server, package, 1);
    }
    let status = server.await_status("every release is stored", |status| {
        let releases = status["releases"].as_array().unwrap();
        releases.len() == 2 * packages.len() && releases.iter().all(|r| r["conditions"][0]["status"] == true)
    });
    assert!(status["diagnostics"].as_array().unwrap().is_empty(), "{status}");
}

#[test]
fn pushed_over_smart_http() {
    let world = World::empty();
    let host = SmartHttp::start(&world.upstream);
    let clone = Clone::new(&world, &host.url().to_string(), None);
    follow(&world, &clone, &[&SWAGGER, &MONACO], || world.serve_from(&host.url().to_string(), &[]));
    assert!(MONACO.files("0.55.1").len() > 1000);
}

#[test]
fn pushed_over_ssh() {
    let world = World::empty();
    let host = Sshd::start(&world.upstream);
    let Access { credentials: Credentials::SshKey { private, .. }, known_hosts, .. } = host.access() else {
        panic!("the server takes keys")
    };
    let (key, known) = (world.file("key"), world.file("known_hosts"));
    fs::write(&key, private.expose_secret()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&known, known_hosts.unwrap()).unwrap();
    let (key, known) = (key.to_str().unwrap(), known.to_str().unwrap());
    let ssh = format!(
        "ssh -F none -i {key} -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile={known}"
    );
    // The address as text leaves the user out.
    let user = tool(Command::new("id").arg("-un"));
    let url = host.url().to_string().replace("ssh://", &format!("ssh://{}@", user.trim()));
    let clone = Clone::new(&world, &url, Some(ssh));
    let flags = ["--git-ssh-key-file", key, "--git-known-hosts-file", known];
    follow(&world, &clone, &[&SWAGGER, &MONACO], || world.serve_from(&url, &flags));
}
