//! `sluice demo` for real: what it tells, and what it leaves.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Command, Stdio},
};

use crate::support::{ROOT, program, sluice, tool};

/// What is told, in this order.
const MARKS: [&str; 14] = [
    "A minute with Sluice",
    "commits release 1.1.0 to a Git repository",
    "has packed 1.1.0, and serves it at http://127.0.0.1:",
    "phones run 1.1.0.",
    "Release in steps",
    "Rosa releases 1.2.0.",
    "-  release: 1.1.0",
    "+  release: 1.2.0",
    "Sluice offers 1.2.0 to 20 % of the phones",
    "Sluice stops 1.2.0",
    "$ git log -1",
    "Rollback-Id: ",
    "Everybody is back",
    "Try next:",
];

/// The text without what depends on the width of lines.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Fails unless all marks stand in `text`, one after the other.
fn has_marks(text: &str) {
    let text = squeezed(text);
    let mut rest = text.as_str();
    for mark in MARKS {
        let mark = squeezed(mark);
        let (_, after) =
            rest.split_once(&mark).unwrap_or_else(|| panic!("`{mark}` does not follow in\n{text}"));
        rest = after;
    }
}

/// The folder that a story happens in.
fn folder(out: &str) -> String {
    let words = out.split_whitespace();
    let path = words.map(|word| word.trim_end_matches('.')).find(|word| word.contains("sluice-demo-"));
    path.unwrap_or_else(|| panic!("no folder is named in\n{out}")).to_owned()
}

#[test]
fn a_bad_release_is_taken_back_and_nothing_is_left() {
    let ran = sluice(["demo"]).exits(0);
    has_marks(&ran.out);
    for trailer in ["This reverts commit ", "Restores: 1.1.0", "Reason: GateFailed", "allowHeld: ["] {
        assert!(ran.out.contains(trailer), "{trailer} in\n{}", ran.out);
    }
    assert!(!ran.out.contains('\x1b') && ran.err.is_empty(), "{ran:?}");
    assert!(ran.out.lines().all(|line| line.chars().count() <= 100), "{}", ran.out);
    assert!(!Path::new(&folder(&ran.out)).exists());
}

#[test]
fn it_can_be_played_with_afterwards() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().canonicalize().unwrap().join("demo");
    let data = folder.to_str().unwrap();
    let mut command = program();
    command.args(["demo", "--keep", "--data", data]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut demo = command.spawn().unwrap();
    let mut out = BufReader::new(demo.stdout.take().unwrap());
    let mut told = String::new();
    while !squeezed(&told).contains("The server writes its log") {
        assert_ne!(out.read_line(&mut told).unwrap(), 0, "it ended early\n{told}");
    }
    assert!(squeezed(&told).contains("until Ctrl-C"), "{told}");
    assert!(told.contains(&format!("status --data {data}")), "{told}");
    let status = sluice(["status", "--data", data]).exits(0).out;
    for word in ["1.1.0 is served as asked", "Rollbacks:", "Complete"] {
        assert!(status.contains(word), "{word} in\n{status}");
    }
    let repository = folder.join("shop.git");
    let git = |arguments: &[&str]| tool(Command::new("git").args(arguments).current_dir(&repository));
    let log = git(&["log", "-1", "main"]);
    for line in log.lines().filter(|line| !line.is_empty() && line.len() < 90) {
        assert!(told.contains(line), "`{line}` of git log is not in\n{told}");
    }
    assert_eq!(git(&["rev-list", "--count", "main"]).trim(), "4");
    git(&["fsck", "--strict"]);

    let id = demo.id();
    tool(Command::new("sh").args(["-c", &format!("kill -INT {id}")]));
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(demo.wait().unwrap().success(), "{rest}");
    assert!(squeezed(&rest).contains("is left in"), "{rest}");
    let log = fs::read_to_string(folder.join("server.log")).unwrap();
    assert!(log.contains("stopped") && !log.contains("ERROR"), "{log}");
    // What is there is nobody's to write over.
    let ran = sluice(["demo", "--data", data]).exits(2);
    assert!(ran.err.contains("is not empty; name a folder that is new or empty"), "{ran:?}");
}

#[test]
fn who_has_had_enough_leaves_nothing() {
    let mut demo = program().arg("demo").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(demo.stdout.take().unwrap());
    let mut told = String::new();
    while !squeezed(&told).contains("serves it at http") {
        assert_ne!(out.read_line(&mut told).unwrap(), 0, "it ended early\n{told}");
    }
    let id = demo.id();
    tool(Command::new("sh").args(["-c", &format!("kill -INT {id}")]));
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(1), "{rest}");
    assert!(rest.contains("Stopped before the end."), "{rest}");
    assert!(!Path::new(&folder(&told)).exists());
}

/// When it breaks off it says why, and leaves the log.
#[test]
fn what_went_wrong_is_said() {
    let mut demo = program();
    let demo = demo.arg("demo").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut demo = demo.spawn().unwrap();
    let mut out = BufReader::new(demo.stdout.take().unwrap());
    let mut told = String::new();
    while !squeezed(&told).contains("serves it at http") {
        assert_ne!(out.read_line(&mut told).unwrap(), 0, "it ended early\n{told}");
    }
    let place = folder(&told);
    // Rosa cannot commit any more.
    fs::remove_dir_all(Path::new(&place).join("shop.git")).unwrap();
    let output = demo.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("broke off") && error.contains("shop.git"), "{error}");
    let log = Path::new(&place).join("server.log");
    assert!(error.contains(log.to_str().unwrap()) && log.exists(), "{error}");
    fs::remove_dir_all(place).unwrap();
}

/// The picture of the README is of a real run, and of the present story.
#[test]
fn the_picture_tells_the_same() {
    let picture = fs::read_to_string(Path::new(ROOT).join("docs/pictures/demo.svg")).unwrap();
    let text = picture.split('<').filter_map(|part| part.split_once('>').map(|(_, text)| text));
    let text = text.collect::<Vec<_>>().join(" ");
    has_marks(&text.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"));
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    assert!(readme.contains("docs/pictures/demo.svg"));
    assert!(readme.contains("\ncargo run --bin sluice -- demo\n"));
}
