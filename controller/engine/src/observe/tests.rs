use std::collections::BTreeSet;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use sluice_repo::{
    PathFilter,
    testing::{Changes, Upstream},
};

use super::*;

const PARSER: &str = "1";

/// A document, or something that takes the place of one.
fn content(random: &mut StdRng, path: &str) -> String {
    let name = path.replace(['/', '.'], "-");
    let (kind, version) = (random.random_range(0..8), random.random_range(0..9));
    let up = "../".repeat(path.matches('/').count());
    let release = |bundle: &str| {
        format!(
            "apiVersion: sluice.dev/v1alpha1\nkind: Release\nmetadata: {{ name: {name} }}\nspec:\n  app: com.example.shop\n  \
             version: 1.0.{version}\n  bundle: {{ path: {up}{bundle} }}\n"
        )
    };
    match kind {
        0 => release("a"),
        1 => release("a/b"),
        2 => release("c"),
        3 => "not: [closed".to_owned(),
        4 => "kind: ConfigMap\n".to_owned(),
        5 => "\u{1}garbage".to_owned(),
        _ => format!(
            "apiVersion: sluice.dev/v1alpha1\nkind: Channel\nmetadata: {{ name: {name} }}\nspec: {{ app: com.example.shop, release: \
             1.0.0 }}\n"
        ),
    }
}

/// Whatever happened between two commits, looking at what changed tells what looking at everything tells.
#[test]
fn the_difference_of_two_commits_tells_the_same_as_all_of_the_second() {
    const FOLDERS: [&str; 6] = ["", "a/", "a/b/", "a/b/x/", "c/", "d.yaml/"];
    let folders = [
        Folder::default(),
        Folder { path: "a".into(), ..Folder::default() },
        Folder { path: String::new(), filter: PathFilter::new::<&str>(&["**/*.yaml"], &["c"]).unwrap() },
    ];
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut by_difference, mut in_full) = (0, 0);
    for round in 0..30 {
        let upstream = Upstream::new();
        let mut last = upstream.commit(Changes::new().file("a/keep.yaml", "").file("keep.yaml", ""));
        let mut there = BTreeSet::new();
        let reader = Reader::discover(&upstream.path()).unwrap().0;
        let folder = &folders[round % folders.len()];
        let first = files(&reader, last, folder, &Inventory::default(), PARSER, None).unwrap();
        let mut hides = first.hides;
        let mut inventory = Inventory::default().step(last.to_string(), PARSER.into(), first.files).next;
        for _ in 0..20 {
            let path = |random: &mut StdRng| {
                let name = ["d.yaml", "e.yaml", "f.txt"].choose(random).unwrap();
                format!("{}{name}", FOLDERS.choose(random).unwrap())
            };
            let new: BTreeSet<String> = (0..random.random_range(1..4)).map(|_| path(&mut random)).collect();
            // What is in the way: a file becomes a folder, or a folder a file.
            let below = |inner: &str, outer: &str| inner.starts_with(&format!("{outer}/"));
            let away = |old: &String| new.iter().any(|new| below(new, old) || below(old, new));
            let mut gone: BTreeSet<String> = there.iter().filter(|old| away(old)).cloned().collect();
            gone.extend(there.iter().filter(|_| random.random_ratio(1, 8)).cloned());
            there.retain(|path| !gone.contains(path));
            if !gone.is_empty() {
                upstream.commit(gone.iter().fold(Changes::new(), |changes, path| changes.remove(path)));
            }
            let mut changes = Changes::new();
            let is_folder = |path: &String| new.iter().any(|other| below(other, path));
            for path in new.iter().filter(|path| !is_folder(path)) {
                changes = match random.random_range(0..8) {
                    0 => changes.symlink(path, "e.yaml"),
                    _ => changes.file(path, content(&mut random, path)),
                };
                there.insert(path.clone());
            }
            let commit = upstream.commit(changes);
            let all = files(&reader, commit, folder, &inventory, PARSER, None).unwrap();
            let since = files(&reader, commit, folder, &inventory, PARSER, (!hides).then_some(last)).unwrap();
            assert_eq!(since, all, "round {round}, {last} to {commit}");
            let told = !hides && files_since(&reader, (last, commit), folder, &inventory).unwrap().is_some();
            by_difference += usize::from(told);
            in_full += usize::from(!told);
            hides = all.hides;
            inventory = inventory.step(commit.to_string(), PARSER.into(), all.files).next;
            last = commit;
        }
    }
    assert!(by_difference > 50 && in_full > 50, "{by_difference} by difference, {in_full} in full");
}
