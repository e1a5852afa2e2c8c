//! Git over SSH: a real `sshd` with keys of its own on a free port.

use std::{
    fs,
    io::Read,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::Upstream;
use crate::{Access, Credentials, RepositoryUrl};

/// A server that lets one key of the present user in.
#[derive(Debug)]
pub struct Sshd {
    folder: TempDir,
    child: Child,
    port: u16,
    user: String,
    upstream: String,
}

impl Sshd {
    /// Serves `upstream`.
    pub fn start(upstream: &Upstream) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["host", "user", "other"] {
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", path(&folder, name).as_str()]);
        }
        fs::copy(folder.path().join("user.pub"), folder.path().join("authorized")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n",
            path(&folder, "host"),
            path(&folder, "authorized"),
        );
        fs::write(folder.path().join("config"), config).unwrap();
        let user = run("id", &["-un"]).trim().to_owned();
        if user == "root" {
            // The folder that sshd locks its unprivileged half into; the system's start script makes it otherwise.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", &path(&folder, "config")])
            .stdin(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("this test needs `/usr/sbin/sshd` (openssh-server): {error}"));
        let server =
            Self { folder, child, port, user, upstream: upstream.path().to_str().unwrap().to_owned() };
        server.wait();
        server
    }

    /// Returns once the server greets.
    fn wait(&self) {
        let limit = Instant::now() + Duration::from_secs(30);
        loop {
            let mut greeting = [0; 4];
            let greeted = TcpStream::connect(("127.0.0.1", self.port))
                .and_then(|mut stream| stream.read_exact(&mut greeting))
                .is_ok();
            if greeted && &greeting == b"SSH-" {
                return;
            }
            assert!(Instant::now() < limit, "sshd did not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the server wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The address of the repository.
    pub fn url(&self) -> RepositoryUrl {
        format!("ssh://{}@127.0.0.1:{}{}", self.user, self.port, self.upstream).parse().unwrap()
    }

    /// An address of a repository that is not there.
    pub fn missing_url(&self) -> RepositoryUrl {
        format!("ssh://{}@127.0.0.1:{}/nowhere.git", self.user, self.port).parse().unwrap()
    }

    /// The key that is let in, with the right host key.
    pub fn access(&self) -> Access {
        self.access_with("user", "host")
    }

    /// A key that is not let in, with the right host key.
    pub fn wrong_key(&self) -> Access {
        self.access_with("other", "host")
    }

    /// The key that is let in, with another host key than the server's.
    pub fn wrong_host_key(&self) -> Access {
        self.access_with("user", "other")
    }

    /// The fingerprint of the host key, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        let text = run("ssh-keygen", &["-l", "-f", &path(&self.folder, "host.pub")]);
        text.split_ascii_whitespace().nth(1).unwrap().to_owned()
    }

    fn access_with(&self, user: &str, host: &str) -> Access {
        let key = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap();
        Access {
            credentials: Credentials::SshKey { private: key(user).into(), passphrase: None },
            known_hosts: Some(format!("[127.0.0.1]:{} {}", self.port, key(&format!("{host}.pub")))),
            ..Access::default()
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn path(folder: &TempDir, name: &str) -> String {
    Path::join(folder.path(), name).to_str().unwrap().to_owned()
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("this test needs the program `{program}`: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
