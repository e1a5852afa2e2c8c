//! The try-out of docs/kubernetes.md: what its one command shows, and what kubectl prints in it, as the page has it.

use std::{fs, path::Path};

use sluice_test_parts::{Demo, kubectl};

use crate::support::SLUICE;

/// The page.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/kubernetes.md");
/// Stands in the page for lines that differ from run to run, or matter little.
const LEFT_OUT: &str = "…";

/// The commands of the page's transcripts, each with what it prints.
fn transcripts(page: &str) -> Vec<(Vec<&str>, Vec<&str>)> {
    let blocks = page.split("\n```console\n").skip(1).map(|rest| rest.split("\n```").next().unwrap());
    let commands = blocks.flat_map(|block| block.trim_start_matches("$ ").split("\n$ "));
    let parted = commands.map(|text| {
        let mut lines = text.lines();
        (lines.next().unwrap().split(' ').collect(), lines.map(str::trim_end).collect())
    });
    parted.collect()
}

/// A line without what differs from run to run: spaces between columns, ages, times, ids.
fn stable(line: &str) -> String {
    let hex = |word: &str| word.len() >= 7 && word.chars().all(|c| c.is_ascii_hexdigit());
    let age = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_digit())
            && word.ends_with(['s', 'm', 'h', 'd'])
            && word.chars().all(|c| c.is_ascii_digit() || "smhd".contains(c))
    };
    let time = |word: &str| word.contains('T') && word.ends_with('Z') && word.contains(':');
    let words = line.split_whitespace().map(|word| {
        let bare = word.trim_end_matches([',', '.', ';']);
        let id = bare.rsplit('@').next().unwrap();
        if hex(id) {
            word.replace(id, "ID")
        } else if age(bare) || time(bare) {
            word.replace(bare, "TIME")
        } else if let Some(at) = word.find("127.0.0.1:") {
            let port = word[at + 10..].chars().take_while(char::is_ascii_digit).count();
            format!("{}PORT{}", &word[..at + 10], &word[at + 10 + port..])
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether the lines of the page are what was printed, but for what it leaves out.
fn holds(page: &[&str], printed: &str) -> Result<(), String> {
    let printed: Vec<String> = printed.lines().map(stable).filter(|line| !line.is_empty()).collect();
    let mut next = 0;
    let mut may_skip = false;
    for line in page.iter().filter(|line| !line.is_empty()) {
        if line.trim() == LEFT_OUT {
            may_skip = true;
            continue;
        }
        let line = stable(line);
        let found = printed[next..].iter().position(|printed| *printed == line);
        match found {
            Some(skipped) if skipped == 0 || may_skip => next += skipped + 1,
            _ => return Err(format!("not there: {line}\n{}", printed[next..].join("\n"))),
        }
        may_skip = false;
    }
    if next < printed.len() && !may_skip {
        Err(format!("not on the page: {}", printed[next]))
    } else {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_try_out_shows_what_the_page_says() {
    let mut shown = Vec::new();
    let demo = Demo::start(Path::new(SLUICE), &mut shown).await.unwrap();
    let shown = String::from_utf8(shown).unwrap();
    for step in [
        "$ kubectl apply -f examples/cluster/namespace.yaml",
        "$ helm install sluice charts/sluice --namespace sluice-system",
        "channel.sluice.dev/shop-production condition met",
        "channel.sluice.dev/shop-beta condition met",
        r#""version":"1.1.0""#,
    ] {
        assert!(shown.contains(step), "{step}\n{shown}");
    }
    let page = fs::read_to_string(PAGE).unwrap();
    let mut compared = 0;
    for (command, expected) in transcripts(&page) {
        let ["kubectl", arguments @ ..] = command.as_slice() else { continue };
        let output = kubectl(demo.control_plane()).args(arguments).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        if let Err(difference) = holds(&expected, &printed) {
            panic!("{}\n{difference}\n\nprinted:\n{printed}", command.join(" "));
        }
        compared += 1;
    }
    assert!(compared >= 5, "the page shows get, describe, explain, wait and events: {compared}");
}
