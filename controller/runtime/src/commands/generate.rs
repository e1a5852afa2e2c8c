//! `sluice generate`: writes every file that is made from the code, or checks that each is as it would be written.

use std::{fmt::Write as _, fs};

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use sluice_core::diagnostic::Code;

use crate::{
    args::{Cli, GenerateArgs},
    commands::print,
    exit,
};

/// Writes or checks the files.
pub(crate) fn run(args: &GenerateArgs) -> anyhow::Result<u8> {
    let mut stale = Vec::new();
    for (path, text) in files() {
        let file = args.root.join(&path);
        if fs::read_to_string(&file).is_ok_and(|now| now == text) {
            continue;
        }
        stale.push(path);
        if !args.check {
            let folder = file.parent().context("a generated file stands in a folder")?;
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    let verb = if args.check { "is not as the code says" } else { "written" };
    for path in &stale {
        print(&format!("{path}: {verb}\n"))?;
    }
    Ok(if args.check && !stale.is_empty() { exit::FAILED } else { exit::OK })
}

/// Path from the project's root, and content.
fn files() -> Vec<(String, String)> {
    let mut files = sluice_crds::generated();
    files.push(("docs/reference/cli.md".into(), command_line()));
    files.push(("docs/reference/problems.md".into(), problems()));
    files.push(("docs/reference/openapi.json".into(), sluice_serve::admin::openapi()));
    files
}

fn problems() -> String {
    let mut text = String::from(
        "# Problems\n\nEvery problem of a file, an object or a bundle that `sluice validate` and `sluice status` list has one of these codes. \
         The reasons of a repository's condition are those of docs/operating.md. \
         Made from the code by `cargo run --bin sluice -- generate`.\n\n| code | severity | meaning |\n| --- | --- | --- |\n",
    );
    for code in Code::ALL {
        let meaning = code.explanation().split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(text, "| `{code}` | {} | {meaning} |", code.severity());
    }
    text
}

fn command_line() -> String {
    let mut text = String::from(
        "# Command line\n\nMade from the code by `cargo run --bin sluice -- generate`.\n\nSettings of `serve` come from the flag, \
         else the environment variable shown beside it, else the file given by `--config`, else the default.\n\n\
         | exit code | meaning |\n| --- | --- |\n| 0 | it worked; `validate` found nothing |\n\
         | 1 | `validate` found problems; a request was refused, or there is nothing of that name |\n\
         | 2 | it could not be tried: wrong arguments or settings, or something it needs is missing |\n",
    );
    let mut command = Cli::command();
    command.build();
    for sub in command.get_subcommands_mut().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        section(sub, &mut text);
    }
    text
}

fn section(command: &mut Command, text: &mut String) {
    let name = command.get_name().to_owned();
    let quiet = command.clone().mut_args(|argument| argument.hide_env_values(true));
    let help = quiet.term_width(100).render_long_help().to_string();
    let help = help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    let _ = write!(text, "\n## sluice {name}\n\n```text\n{}\n```\n", help.trim_end());
}
