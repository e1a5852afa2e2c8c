//! Exact restores of random histories, compared with the real `git revert`.

use std::{collections::BTreeMap, path::Path, process::Command};

use git2::{FileMode, Oid, Repository, Signature, Time};
use rand::{Rng, SeedableRng as _, rngs::SmallRng};
use sluice_repo::{CommitId, Committer, Identity, Reader, testing::Upstream};

/// Histories, unless `SLUICE_ROUNDS` says otherwise.
const ROUNDS: u64 = 120;

/// What a commit has: by path, the lines of the file and whether it is executable.
type Files = BTreeMap<String, (Vec<String>, bool)>;

struct Repo {
    upstream: Upstream,
    git: Repository,
    clock: i64,
}

impl Repo {
    fn new() -> Self {
        let upstream = Upstream::new();
        let git = Repository::open_bare(upstream.path()).unwrap();
        Self { upstream, git, clock: 1_790_000_000 }
    }

    fn commit(&mut self, files: &Files, parents: &[Oid]) -> Oid {
        self.clock += 1;
        let who = Signature::new("Ada", "ada@example.org", &Time::new(self.clock, 0)).unwrap();
        let mut index = git2::build::TreeUpdateBuilder::new();
        for (path, (lines, executable)) in files {
            let id = self.git.blob(lines.concat().as_bytes()).unwrap();
            let mode = if *executable { FileMode::BlobExecutable } else { FileMode::Blob };
            index.upsert(path.as_str(), id, mode);
        }
        let empty = self.git.treebuilder(None).unwrap().write().unwrap();
        let empty = self.git.find_tree(empty).unwrap();
        let tree = index.create_updated(&self.git, &empty).unwrap();
        let tree = self.git.find_tree(tree).unwrap();
        let parents: Vec<_> = parents.iter().map(|id| self.git.find_commit(*id).unwrap()).collect();
        let parents: Vec<_> = parents.iter().collect();
        self.git.commit(None, &who, &who, "Change", &tree, &parents).unwrap()
    }
}

fn line(random: &mut SmallRng) -> String {
    format!("line {}\n", random.random_range(0..40))
}

fn name(random: &mut SmallRng) -> String {
    let folders = ["", "a/", "a/b/", "a-b/", "channels/"];
    format!("{}f{}.yaml", folders[random.random_range(0..folders.len())], random.random_range(0..4))
}

fn any(files: &Files, random: &mut SmallRng) -> Option<String> {
    let at = random.random_range(0..files.len().max(1));
    files.keys().nth(at).cloned()
}

/// One thing that people do to a file.
fn step(files: &mut Files, random: &mut SmallRng) {
    let path = any(files, random);
    match (random.random_range(0..10), path) {
        (0 | 1, _) | (_, None) => {
            let lines = (0..random.random_range(1..12)).map(|_| line(random)).collect();
            files.insert(name(random), (lines, false));
        }
        (2, Some(path)) if files.len() > 1 => _ = files.remove(&path),
        (3, Some(path)) => {
            let (mut lines, executable) = files.remove(&path).unwrap();
            if random.random_bool(0.5) {
                lines.push(line(random));
            }
            files.insert(name(random), (lines, executable));
        }
        (4, Some(path)) => {
            let file = files.get_mut(&path).unwrap();
            file.1 = !file.1;
        }
        (_, Some(path)) => {
            let lines = &mut files.get_mut(&path).unwrap().0;
            let at = random.random_range(0..=lines.len());
            match random.random_range(0..3) {
                0 if at < lines.len() => _ = lines.remove(at),
                1 if at < lines.len() => lines[at] = line(random),
                _ => lines.insert(at, line(random)),
            }
        }
    }
}

fn steps(files: &mut Files, random: &mut SmallRng) {
    for _ in 0..random.random_range(1..4) {
        step(files, random);
    }
}

/// A history of some commits and merges; its first parents, oldest first.
fn history(repo: &mut Repo, random: &mut SmallRng) -> Vec<Oid> {
    let mut files = Files::new();
    for _ in 0..6 {
        step(&mut files, random);
    }
    let mut line = vec![repo.commit(&files, &[])];
    for _ in 0..random.random_range(2..8) {
        let tip = *line.last().unwrap();
        if random.random_bool(0.3) {
            let mut side = files.clone();
            steps(&mut side, random);
            let theirs = repo.commit(&side, &[tip]);
            steps(&mut files, random);
            let ours = repo.commit(&files, &[tip]);
            line.push(ours);
            // Every file as one of the two has it.
            for (path, file) in side {
                if !files.contains_key(&path) || random.random_bool(0.5) {
                    files.insert(path, file);
                }
            }
            line.push(repo.commit(&files, &[ours, theirs]));
        } else {
            steps(&mut files, random);
            line.push(repo.commit(&files, &[tip]));
        }
    }
    line
}

fn git(clone: &Path, args: &[&str]) -> (bool, String) {
    let output = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.hooksPath=/dev/null"])
        .args(args)
        .current_dir(clone)
        .output()
        .expect("this test needs the program `git`");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The tree of Git's own revert; nothing where it finds a conflict.
fn reverted(clone: &Path, bad: Oid, merge: bool, tip: Oid) -> Option<String> {
    git(clone, &["reset", "-q", "--hard"]);
    let (clean, _) = git(clone, &["checkout", "-q", "-f", "--detach", &tip.to_string()]);
    assert!(clean);
    git(clone, &["clean", "-qfdx"]);
    let bad = bad.to_string();
    let mut args = vec!["revert", "--no-commit"];
    if merge {
        args.extend(["-m", "1"]);
    }
    args.push(&bad);
    let (clean, _) = git(clone, &args);
    let tree = clean.then(|| git(clone, &["write-tree"]).1);
    git(clone, &["revert", "--quit"]);
    tree
}

#[test]
fn an_exact_restore_is_what_git_would_do() {
    let rounds =
        std::env::var_os("SLUICE_ROUNDS").map_or(ROUNDS, |text| text.to_str().unwrap().parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut repo = Repo::new();
    let clone = folder.path().join("clone");
    let from = repo.upstream.path();
    let made = Command::new("git").args(["clone", "-q", "--shared"]).arg(&from).arg(&clone).status().unwrap();
    assert!(made.success());
    let identity = Identity { name: "Sluice".into(), email: "s@example.org".into() };
    let who = Committer { identity, key: None };
    let (mut exact, mut clean, mut not) = (0, 0, BTreeMap::<String, u32>::new());
    for seed in 0..rounds {
        let random = &mut SmallRng::seed_from_u64(seed);
        let line = history(&mut repo, random);
        let tip = *line.last().unwrap();
        let bad = line[random.random_range(1..line.len())];
        let merge = repo.git.find_commit(bad).unwrap().parent_count() > 1;
        let (reader, _) = Reader::discover(&from).unwrap();
        let id = |oid: Oid| oid.to_string().parse::<CommitId>().unwrap();
        let planned = reader.exact_restore(id(bad), id(tip)).unwrap();
        let theirs = reverted(&clone, bad, merge, tip);
        clean += u32::from(theirs.is_some());
        match planned {
            Ok(edits) => {
                exact += 1_u64;
                let draft = reader.draft(id(tip), &edits, &who, 1, "Restore\n").unwrap();
                let ours = draft.text().lines().next().unwrap().trim_start_matches("tree ").to_owned();
                assert_eq!(Some(ours), theirs, "seed {seed}: {bad} on {tip}");
            }
            Err(why) => {
                let why = format!("{why:?}");
                *not.entry(why.split('(').next().unwrap().to_owned()).or_default() += 1;
            }
        }
    }
    println!("{rounds} histories: {exact} exact, Git reverts {clean}; not exact: {not:?}");
    assert!(exact * 4 > rounds, "{exact} of {rounds}");
    assert!(not.contains_key("Renames") && not.contains_key("Changed"), "{not:?}");
}
