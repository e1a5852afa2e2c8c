//! A repository that is made and committed to without Git.

use std::process::Command;

use sluice_repo::{Bare, Content, Edit, Identity, Reader};

fn written(path: &str, text: &str) -> Edit {
    Edit { path: path.to_owned(), content: Content::Written(text.as_bytes().to_vec()) }
}

#[test]
fn commits_follow_each_other_and_git_finds_them_well() {
    let folder = tempfile::tempdir().unwrap();
    let bare = Bare::create(folder.path().join("shop.git"), "main").unwrap();
    let ada = Identity { name: "Ada".into(), email: "ada@example.org".into() };
    let first = bare.commit(&[written("a/b.yaml", "one\n")], &ada, 1_790_000_000, "Begin\n").unwrap();
    let edits = [written("c.yaml", "two\n"), Edit { path: "a/b.yaml".to_owned(), content: Content::Absent }];
    let second = bare.commit(&edits, &ada, 1_790_000_001, "Go on\n").unwrap();
    let (reader, inside) = Reader::discover(bare.path()).unwrap();
    assert_eq!((reader.resolve("main").unwrap(), inside.as_str()), (second, ""));
    let commit = reader.commit(second).unwrap();
    assert_eq!((commit.parents, commit.message.as_str()), (vec![first], "Go on\n"));
    assert_eq!((commit.author.as_str(), commit.email.as_str()), ("Ada", "ada@example.org"));
    assert!(reader.find(second, "a/b.yaml").unwrap().is_none());
    assert!(reader.find(second, "c.yaml").unwrap().is_some());
    let git = Command::new("git").args(["fsck", "--strict"]).current_dir(bare.path()).output().unwrap();
    assert!(git.status.success(), "{}", String::from_utf8_lossy(&git.stderr));
    // What is there stays there.
    let again = Bare::create(bare.path(), "main").unwrap_err().to_string();
    assert!(again.contains("shop.git"), "{again}");
    assert_eq!(reader.resolve("main").unwrap(), second);
}
