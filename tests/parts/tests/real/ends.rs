use std::path::{Path, PathBuf};

use rstest::rstest;
use sluice_test_parts::{Minio, Postgres, until};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
};

use crate::LIMIT;

/// The scratch control plane as a process of its own, and where its kubeconfig is.
async fn scratch() -> (Child, PathBuf) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_control-plane"))
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().expect("a line");
    (child, line.strip_prefix("export KUBECONFIG=").expect("an export").into())
}

fn server(kubeconfig: &Path) -> String {
    let text = std::fs::read(kubeconfig).unwrap();
    let content: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let url = content["clusters"][0]["cluster"]["server"].as_str().unwrap();
    url.strip_prefix("https://").unwrap().to_owned()
}

/// Processes that were started with something of this folder as an argument.
fn processes_of(folder: &Path) -> Vec<String> {
    let wanted = folder.display().to_string();
    let arguments = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).ok();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| arguments(entry.unwrap()))
        .map(|arguments| String::from_utf8_lossy(&arguments).replace('\0', " "))
        .filter(|arguments| arguments.contains(&wanted))
        .collect()
}

#[rstest]
#[tokio::test]
async fn nothing_is_left_however_the_process_ends(#[values("INT", "KILL")] signal: &str) {
    let (mut child, kubeconfig) = scratch().await;
    let folder = kubeconfig.parent().unwrap();
    let address = server(&kubeconfig);
    TcpStream::connect(&address).await.unwrap();
    let id = child.id().unwrap().to_string();
    let sent = Command::new("sh").args(["-c", r#"kill -s "$1" "$2""#, "kill", signal, &id]).status().await;
    assert!(sent.unwrap().success());
    child.wait().await.unwrap();
    until(LIMIT, "nothing is left", async || {
        let left = processes_of(folder);
        if folder.exists() || !left.is_empty() {
            return Err(format!("{}: {}, {left:?}", folder.display(), folder.exists()));
        }
        // A process loses its arguments before it loses its sockets.
        TcpStream::connect(&address).await.map_or(Ok(()), |_| Err(format!("{address} is open")))
    })
    .await;
}

#[tokio::test]
async fn nothing_is_left_of_stores() {
    let (minio, postgres) = tokio::join!(Minio::start(), Postgres::start());
    let addresses = [minio.address(), postgres.address()];
    // Also what cannot react.
    minio.pause();
    postgres.pause();
    drop((minio, postgres));
    for address in addresses {
        TcpStream::connect(address).await.unwrap_err();
    }
}
