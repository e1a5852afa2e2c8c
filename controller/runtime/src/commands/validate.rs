//! `sluice validate`: checks the releases and channels of a directory, as the engine would read them after a merge.

mod base;
mod disk;

use std::{collections::BTreeMap, io::IsTerminal as _, path::PathBuf};

use anyhow::Context as _;
use sluice_bundle::Limits;
use sluice_core::{
    diagnostic::{Code, Diagnostic, Severity},
    inventory::{FileEntries, Object, leave_out_bundles},
    observed::Observed,
    release::Source,
    resolve::{Owner, resolve},
};

use crate::{
    args::{Output, ValidateArgs},
    commands::print,
    exit, render,
};

/// Checks and prints.
pub(crate) fn run(args: &ValidateArgs) -> anyhow::Result<u8> {
    let tree = Tree::open(&args.dir)?;
    let mut files = disk::files(&tree)?;
    leave_out_bundles(&mut files);
    anyhow::ensure!(
        !files.is_empty(),
        "there is no Release or Channel below {}; is it the right directory?",
        args.dir.display()
    );
    let mut problems: Vec<Diagnostic> = files.values().flat_map(|file| &file.problems).cloned().collect();
    let owner = Owner { name: "default".into(), apps: args.apps.clone() };
    let objects = files.values().flat_map(|file| &file.objects);
    problems.extend(resolve(objects, &owner, &Observed::default()).problems);
    problems.extend(bundles(&tree, &files));
    if let Some(revision) = &args.base {
        problems.extend(base::burnt(&tree, &files, revision)?);
    }
    problems.sort();
    problems.dedup();

    let color = std::io::stdout().is_terminal();
    print(&render::problems(args.output, &problems, &tree.root, color))?;
    let errors = problems.iter().filter(|p| p.severity == Severity::Error).count();
    if args.output == Output::Text {
        print(&summary(&files, errors, problems.len() - errors))?;
    }
    Ok(if problems.is_empty() { exit::OK } else { exit::FAILED })
}

/// The directory that is checked. Paths in problems begin at `root`, the root of its repository.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    /// The checked directory, from the root; empty for the root.
    pub(crate) folder: String,
}

impl Tree {
    fn open(dir: &std::path::Path) -> anyhow::Result<Self> {
        let dir = dir.canonicalize().with_context(|| format!("cannot open {}", dir.display()))?;
        anyhow::ensure!(dir.is_dir(), "{} is not a directory", dir.display());
        let root = dir.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(&dir).to_owned();
        let folder = dir.strip_prefix(&root).unwrap_or(&dir);
        let folder = folder.to_str().context("the path of the directory is not UTF-8")?.to_owned();
        Ok(Self { root, folder })
    }
}

/// Problems of the bundles that are in the tree: missing, or such that phones could not install them.
fn bundles(tree: &Tree, files: &FileEntries) -> Vec<Diagnostic> {
    let mut seen: BTreeMap<&str, Option<(Code, String)>> = BTreeMap::new();
    let mut problems = Vec::new();
    for located in files.values().flat_map(|file| &file.objects) {
        let Object::Release(release) = &located.object else { continue };
        let Source::Path(path) = &release.source else { continue };
        let found = seen.entry(path).or_insert_with(|| disk::check_bundle(tree, path, &Limits::default()));
        if let Some((code, message)) = found {
            problems.push(Diagnostic::new(*code, located.field("spec.bundle.path"), message.clone()));
        }
    }
    problems
}

fn summary(files: &FileEntries, errors: usize, warnings: usize) -> String {
    let objects = files.values().flat_map(|file| &file.objects);
    let (releases, channels) = objects.fold((0, 0), |(r, c), located| match located.object {
        Object::Release(_) => (r + 1, c),
        Object::Channel(_) => (r, c + 1),
    });
    let count = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    let found = match (errors, warnings) {
        (0, 0) => "no problems".to_owned(),
        (errors, 0) => count(errors, "error"),
        (0, warnings) => count(warnings, "warning"),
        (errors, warnings) => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
    };
    format!("{}, {}: {found}\n", count(releases, "release"), count(channels, "channel"))
}
