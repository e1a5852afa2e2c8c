//! What people copy works: every example serves a phone, and the commands of the README answer what the README says.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use sluice_core::{
    channel::{Platform, Target},
    inventory::Object,
    release::Source,
};
use sluice_manifest::{ParsedFile, is_candidate, parse_file};
use sluice_repo::testing::Changes;

use crate::support::{ROOT, World, eventually, phone, read_tree, run_unzip, sha256, sluice, unzip};

/// Text files of the project that may hold documents, by path from the root.
fn texts() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for folder in ["examples", "docs"] {
        for (path, content) in read_tree(&Path::new(ROOT).join(folder)) {
            if let Ok(text) = String::from_utf8(content) {
                files.insert(format!("{folder}/{path}"), text);
            }
        }
    }
    for page in ["README.md", "CONTRIBUTING.md"] {
        files.insert(page.to_owned(), fs::read_to_string(Path::new(ROOT).join(page)).unwrap());
    }
    files
}

/// The fenced blocks of a page in one of these languages.
fn blocks<'p>(page: &'p str, languages: &[&str]) -> Vec<&'p str> {
    let fence =
        |part: &&'p str| part.split_once('\n').is_some_and(|(word, _)| languages.contains(&word.trim()));
    page.split("\n```")
        .skip(1)
        .step_by(2)
        .filter(fence)
        .map(|part| part.split_once('\n').unwrap().1)
        .collect()
}

/// What a repository of releases may hold. A `Repository` belongs into a cluster: the tests of the charts load those.
fn is_ours(text: &str) -> bool {
    let foreign = ["\nkind: Repository\n", "\nkind: Rollback\n"];
    text.contains("apiVersion: sluice.dev") && foreign.iter().all(|kind| !text.contains(kind))
}

#[test]
fn every_document_is_understood() {
    let mut found = 0;
    for (path, text) in texts() {
        let documents = match path.rsplit_once('.') {
            Some((_, "yaml" | "yml")) => vec![text.as_str()],
            Some((_, "md")) => blocks(&text, &["yaml", "yml"]),
            _ => continue,
        };
        for document in documents.into_iter().filter(|document| is_ours(document)) {
            let ParsedFile { objects, problems, complete } = parse_file(&path, document.as_bytes());
            assert!(complete && problems.is_empty(), "{path}: {problems:?}\n{document}");
            found += objects.len();
        }
    }
    assert!(found >= 4, "only {found} documents found");
}

/// `examples/` as a commit, without what is applied to clusters.
fn committed() -> World {
    let world = World::empty();
    let mut files = read_tree(&Path::new(ROOT).join("examples"));
    files.retain(|path, _| !path.starts_with("cluster/"));
    let put = |changes: Changes, (path, content): (&String, &Vec<u8>)| {
        changes.file(&format!("examples/{path}"), content)
    };
    world.commit(files.iter().fold(Changes::new(), put));
    world
}

#[test]
fn each_channel_of_the_examples_serves_phones_of_each_platform() {
    let world = committed();
    let server = world.serve_with(&["--path", "examples"]);
    let mut bundles = BTreeMap::new();
    let mut channels = Vec::new();
    for (path, text) in texts().iter().filter(|(path, _)| is_candidate(path)) {
        for located in parse_file(path, text.as_bytes()).objects {
            match located.object {
                Object::Release(release) => {
                    bundles.insert((release.app.clone(), release.version.clone()), release.source);
                }
                Object::Channel(channel) => channels.push(channel),
            }
        }
    }
    assert!(channels.len() >= 2, "{channels:?}");
    let mut number = 0;
    for channel in channels {
        let Target::Release(version) = &channel.lines[0].target else {
            panic!("{channel:?} serves no bundle")
        };
        let Source::Path(path) = &bundles[&(channel.app.clone(), version.clone())] else {
            panic!("the bundle of {version} is not in the repository")
        };
        for platform in
            Platform::ALL.into_iter().filter(|platform| channel.access.platforms.contains(*platform))
        {
            number += 1;
            let wish = if channel.access.public { "" } else { channel.channel.as_str() };
            let phone = phone(number)
                .with("app_id", channel.app.as_str())
                .with("platform", platform.to_string())
                .with("defaultChannel", wish);
            let answer = phone.awaits(&server, &version.to_string());
            let zip = server.download(&answer);
            assert_eq!(answer["checksum"], sha256(&zip));
            let expected = read_tree(&Path::new(ROOT).join(path));
            assert!(expected.contains_key("index.html"));
            assert!(unzip(&zip) == expected, "{version} on {platform}: other files came out of the zip");
            assert!(run_unzip(&zip) == expected, "{version} on {platform}: other files came out of `unzip`");
        }
    }
    let status = server.status();
    assert_eq!(status["diagnostics"], Value::Array(Vec::new()), "{status}");
    for part in ["channels", "releases"] {
        for one in status[part].as_array().unwrap() {
            assert_eq!(one["conditions"][0]["status"], true, "{one}");
        }
    }
}

/// The words of a command of the README, from the name of the subcommand on.
fn readme_command(readme: &str, name: &str) -> Vec<String> {
    let is_it =
        |line: &&str| line.contains("cargo run ") && line.contains(&format!(" --bin sluice -- {name} "));
    let line = readme.lines().find(is_it).unwrap_or_else(|| panic!("the README does not run `{name}`"));
    line.split_once(" -- ").unwrap().1.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_readme_is_true() {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let world = committed();

    // `serve`, but from a copy of this clone, and on free ports.
    let words = readme_command(&readme, "serve");
    let [repository, ".", path, folder, data, _] =
        words[1..].iter().map(String::as_str).collect::<Vec<_>>()[..]
    else {
        panic!("another command: {words:?}")
    };
    assert_eq!([repository, path, data], ["--repository", "--path", "--data"]);
    let server = world.serve_with(&[path, folder]);

    let curl = blocks(&readme, &["sh"]).into_iter().find(|block| block.contains("curl -s ")).unwrap();
    let (command, rest) = curl.split_once(" -d '").unwrap();
    assert_eq!(command, "curl -s http://127.0.0.1:8080/updates");
    let body: Value = serde_json::from_str(rest.trim_end().strip_suffix('\'').unwrap()).unwrap();
    let printed = blocks(&readme, &["json"])[0];
    let printed: Value = serde_json::from_str(printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    let answer = eventually("the README's phone is offered an update", || {
        let answer = server.post("/updates", &body).has_status(200).json();
        answer["url"].is_string().then_some(answer)
    });
    assert_eq!(answer["version"], printed["version"]);
    assert_eq!(answer["checksum"], sha256(&server.download(&answer)));
    let keys = |answer: &Value| answer.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&answer), keys(&printed), "the README's answer has other fields");
    assert!(printed["url"].as_str().unwrap().starts_with("http://127.0.0.1:8080/bundles/"), "{printed}");

    let ask = |name: &str| {
        let data = server.data().to_str().unwrap();
        let words = readme_command(&readme, name);
        sluice(words.iter().map(|word| if word == "sluice-data" { data } else { word })).exits(0).out
    };
    for line in ask("explain").lines().take_while(|line| !line.starts_with("HTTP")) {
        assert!(readme.contains(line), "the README's explanation lacks `{line}`");
    }
    for line in ask("status").lines().filter(|line| line.contains("is served as asked")) {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            readme.lines().any(|shown| squeezed(shown) == squeezed(line)),
            "the README's status lacks `{line}`"
        );
    }
    let mut words = readme_command(&readme, "validate");
    let folder = words.pop().unwrap();
    words.push(format!("{ROOT}/{folder}"));
    let ran = sluice(words).exits(0);
    assert!(ran.out.contains("no problems"), "{ran:?}");
}
