//! The Dockerfile and the release workflow, as far as they go without a container engine.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Values, at, documents, read, render, run};

/// One step of the Dockerfile, with its continuation lines joined.
#[derive(Clone, Debug)]
struct Step {
    word: String,
    rest: String,
}

/// A stage: its base and its steps.
#[derive(Debug)]
struct Stage {
    name: String,
    base: String,
    steps: Vec<Step>,
}

fn steps(text: &str) -> Vec<Step> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let joined = lines.map(|line| line.strip_suffix('\\').map_or_else(|| format!("{line}\n"), str::to_owned));
    joined
        .collect::<String>()
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .map(|(word, rest)| Step { word: word.to_owned(), rest: rest.trim().to_owned() })
        .collect()
}

fn stages() -> (Vec<Step>, Vec<Stage>) {
    let (mut before, mut stages) = (Vec::new(), Vec::<Stage>::new());
    for step in steps(&read("Dockerfile")) {
        if step.word == "FROM" {
            let (base, name) = step.rest.split_once(" AS ").unwrap_or((&step.rest, ""));
            stages.push(Stage { name: name.to_owned(), base: base.to_owned(), steps: Vec::new() });
        } else if let Some(stage) = stages.last_mut() {
            stage.steps.push(step);
        } else {
            before.push(step);
        }
    }
    (before, stages)
}

/// What a stage copies from the sources, and where to.
fn copied(stage: &Stage) -> Vec<(Vec<String>, String)> {
    let from_sources = |step: &&Step| step.word == "COPY" && !step.rest.starts_with("--from");
    stage
        .steps
        .iter()
        .filter(from_sources)
        .map(|step| {
            let mut words: Vec<String> = step.rest.split_whitespace().map(str::to_owned).collect();
            let target = words.pop().unwrap();
            (words, target)
        })
        .collect()
}

#[test]
fn the_build_finds_what_it_needs_in_what_is_copied() {
    let (_, stages) = stages();
    let build = &stages[0];
    assert_eq!(build.name, "build");
    let allowed: BTreeSet<String> =
        read(".dockerignore").lines().filter_map(|line| line.strip_prefix('!')).map(str::to_owned).collect();
    let context = TempDir::new().unwrap();
    let mut sources = BTreeSet::new();
    for (from, to) in copied(build) {
        for source in from {
            assert!(at(&source).exists(), "{source} is copied and does not exist");
            let target = context.path().join(&to);
            let target = if to == "./" { context.path().join(&source) } else { target };
            run(Command::new("cp").arg("--recursive").arg(at(&source)).arg(target));
            sources.insert(source);
        }
    }
    assert_eq!(sources, allowed, ".dockerignore lets through what is copied and nothing else");

    // Cargo reads every manifest, finds every target's file and the lock file complete.
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--locked", "--offline", "--format-version=1"]).current_dir(context.path());
    let metadata: Value = serde_json::from_str(&run(&mut cargo)).unwrap();
    let members = metadata["workspace_members"].as_array().unwrap();
    assert!(members.len() > 10, "{members:?}");
    let targets =
        metadata["packages"].as_array().unwrap().iter().filter(|package| members.contains(&package["id"]));
    for target in targets.flat_map(|package| package["targets"].as_array().unwrap()) {
        let file = target["src_path"].as_str().unwrap();
        assert!(fs::exists(file).unwrap(), "{file} is not copied");
    }
    for file in rust_files(context.path()) {
        let text = fs::read_to_string(&file).unwrap();
        for included in text.split("include_str!(\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            let path = file.parent().unwrap().join(included);
            assert!(path.exists(), "{} includes {included}, which is not copied", file.display());
        }
    }
}

fn rust_files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn one_compiler_everywhere() {
    let wanted = read("rust-toolchain.toml");
    let wanted = wanted.split("channel = \"").nth(1).unwrap().split('"').next().unwrap();
    let (arguments, stages) = stages();
    let image = arguments.iter().find_map(|step| step.rest.strip_prefix("RUST_IMAGE=")).unwrap();
    assert_eq!(image, format!("docker.io/library/rust:{wanted}-bookworm"));
    let environment = &stages[0].steps.iter().find(|step| step.word == "ENV").unwrap().rest;
    assert!(environment.contains(&format!("RUSTUP_TOOLCHAIN={wanted} ")), "{environment}");
    let workflow = read(".github/workflows/release.yaml");
    assert!(
        workflow.contains(&format!("container: {image}"))
            && workflow.contains(&format!("RUSTUP_TOOLCHAIN: \"{wanted}\""))
    );
}

#[test]
fn the_image_runs_the_program_without_rights() {
    let (arguments, stages) = stages();
    let last = stages.last().unwrap();
    assert_eq!(last.base, "${RUNTIME_IMAGE}");
    let base = arguments.iter().find_map(|step| step.rest.strip_prefix("RUNTIME_IMAGE=")).unwrap();
    assert!(base.contains("distroless") && base.contains("debian12"), "the C library of the build: {base}");
    assert!(last.steps.iter().all(|step| step.word != "RUN"), "there is no shell");
    let only = |word: &str| -> String {
        let found: Vec<&Step> = last.steps.iter().filter(|step| step.word == word).collect();
        assert_eq!(found.len(), 1, "{word}");
        found[0].rest.clone()
    };
    let pods = crate::rendered::pods(&render(&Values::new()));
    let user = &pods[0].1["securityContext"];
    assert_eq!(only("USER"), format!("{}:{}", user["runAsUser"], user["runAsGroup"]));

    // What is started is what the build left, where it left it.
    let entry: Vec<String> = serde_json::from_str(&only("ENTRYPOINT")).unwrap();
    let copies: Vec<&str> =
        last.steps.iter().filter(|step| step.word == "COPY").map(|step| step.rest.as_str()).collect();
    let owner = format!("--chown={}", only("USER"));
    assert_eq!(
        copies,
        [format!("--from=build /out{0} {0}", entry[0]), format!("--from=build {owner} /out/data /data")]
    );
    let installs = stages[0].steps.iter().filter(|step| step.word == "RUN").map(|step| step.rest.clone());
    let installs = installs.collect::<String>();
    assert!(installs.contains(&format!("target/release/sluice /out{}", entry[0])), "{installs}");

    let ports: Vec<u64> = only("EXPOSE").split(' ').map(|port| port.parse().unwrap()).collect();
    let served: Vec<u64> = pods[0].1["containers"][0]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| port["containerPort"].as_u64().unwrap())
        .collect();
    assert_eq!(ports, served);
}

#[test]
fn the_shell_of_the_steps_is_sound() {
    let (_, stages) = stages();
    let mut scripts: Vec<String> = Vec::new();
    for step in stages[0].steps.iter().filter(|step| step.word == "RUN") {
        let words = step.rest.split_whitespace().skip_while(|word| word.starts_with("--mount"));
        scripts.push(words.collect::<Vec<_>>().join(" "));
    }
    assert_eq!(scripts.len(), 2);
    for job in jobs().values() {
        let steps = job["steps"].as_array().unwrap();
        scripts.extend(steps.iter().filter_map(|step| step["run"].as_str()).map(str::to_owned));
    }
    assert!(scripts.len() > 6, "{scripts:?}");
    for script in scripts {
        run(Command::new("bash").args(["-n", "-c", &script]));
        assert!(!script.contains("${{"), "an expression inside a script is a way in: {script}");
    }
}

#[test]
fn the_last_run_step_makes_the_folder_of_the_data() {
    let (_, stages) = stages();
    let step = stages[0].steps.iter().rfind(|step| step.word == "RUN").unwrap();
    let folder = TempDir::new().unwrap();
    let script = step.rest.replace("/out", &folder.path().display().to_string());
    run(Command::new("sh").args(["-c", &script]));
    assert!(folder.path().join("data").is_dir());
    let mounts = &crate::rendered::pods(&render(&Values::new()))[0].1["containers"][0]["volumeMounts"];
    assert!(mounts.as_array().unwrap().iter().any(|mount| mount["mountPath"] == "/data"));
}

fn jobs() -> serde_json::Map<String, Value> {
    documents(&read(".github/workflows/release.yaml"))[0]["jobs"].as_object().unwrap().clone()
}

#[test]
fn the_workflow_pins_what_it_uses_and_asks_for_few_rights() {
    let text = read(".github/workflows/release.yaml");
    let mut used = 0;
    for line in text.lines().filter(|line| line.contains("uses: ")) {
        let (action, version) =
            line.split_once("uses: ").unwrap().1.split_once(" # ").unwrap_or_else(|| panic!("{line}"));
        let commit = action.split_once('@').unwrap().1;
        assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
        assert!(version.starts_with('v'), "{line}");
        used += 1;
    }
    assert!(used >= 8, "{used}");
    assert_eq!(documents(&text)[0]["permissions"], serde_json::json!({}));
    let architectures = |job: &str| -> Vec<Value> {
        let include = jobs()[job]["strategy"]["matrix"]["include"].clone();
        include.as_array().unwrap().iter().map(|entry| entry["arch"].clone()).collect()
    };
    for job in ["binaries", "image"] {
        assert_eq!(architectures(job), ["amd64", "arm64"], "{job}");
    }
    for (name, job) in jobs() {
        let writes = job["permissions"].as_object().unwrap().iter().filter(|(_, right)| *right == "write");
        let writes: BTreeSet<String> = writes.map(|(right, _)| right.clone()).collect();
        let expected: &[&str] = match name.as_str() {
            "image" => &["packages"],
            "publish" => &["contents", "id-token", "packages"],
            _ => &[],
        };
        assert_eq!(writes, expected.iter().map(|right| (*right).to_owned()).collect(), "{name}");
    }
}
