//! What the pods are started with is what the program understands.

use std::collections::BTreeSet;

use crate::{
    rendered::pods,
    support::{read, render, sets},
};

/// The flags of a subcommand, from the reference that is made from the code.
fn flags(reference: &str, subcommand: &str) -> BTreeSet<String> {
    let (_, section) = reference
        .split_once(&format!("\n## sluice {subcommand}\n"))
        .unwrap_or_else(|| panic!("docs/reference/cli.md has no `{subcommand}`"));
    let section = section.split("\n## ").next().unwrap();
    let words = section.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    words.map(|rest| rest.split([' ', '[']).next().unwrap().to_owned()).collect()
}

#[test]
fn the_program_has_every_flag_that_the_chart_gives() {
    let reference = read("docs/reference/cli.md");
    for (set, values) in sets() {
        for (name, pod) in pods(&render(&values)) {
            let args: Vec<String> = serde_json::from_value(pod["containers"][0]["args"].clone()).unwrap();
            let (subcommand, rest) = args.split_first().unwrap();
            // The check of `helm test` is for the chart alone and stands in no reference.
            if subcommand == "check-health" {
                continue;
            }
            let known = flags(&reference, subcommand);
            for argument in rest {
                let (flag, _) =
                    argument.split_once('=').unwrap_or_else(|| panic!("{set} {name}: {argument}"));
                assert!(
                    known.contains(flag.trim_start_matches("--")),
                    "{set} {name}: {subcommand} has no {flag}"
                );
            }
        }
    }
}
