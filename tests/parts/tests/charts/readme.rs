//! The READMEs of the charts list every value, from the comments of `values.yaml`.

use std::{fmt::Write as _, fs};

use serde_json::Value;

use crate::support::{at, documents, read};

const BEGIN: &str = "<!-- values: made from values.yaml -->\n";
const END: &str = "<!-- end of values -->\n";
const CHARTS: [&str; 2] = ["charts/sluice", "charts/sluice-crds"];

/// A value that a person can set.
#[derive(Debug)]
struct Row {
    key: String,
    default: String,
    about: String,
}

/// The keys that have a comment `# -- …` right above them, in the order of the file.
fn rows(chart: &str) -> Vec<Row> {
    let text = read(&format!("{chart}/values.yaml"));
    let values = &documents(&text)[0];
    let (mut path, mut rows, mut about) = (Vec::<&str>::new(), Vec::new(), String::new());
    for line in text.lines() {
        let trimmed = line.trim_start();
        if let Some(first) = trimmed.strip_prefix("# -- ") {
            first.clone_into(&mut about);
            continue;
        }
        if let (Some(more), false) = (trimmed.strip_prefix("# "), about.is_empty()) {
            write!(about, " {more}").unwrap();
            continue;
        }
        let is_key = |(key, _): &(&str, &str)| {
            !key.is_empty() && key.chars().all(|letter| letter.is_ascii_alphanumeric())
        };
        if let Some((key, _)) = trimmed.split_once(':').filter(is_key) {
            path.truncate((line.len() - trimmed.len()) / 2);
            path.push(key);
            if !about.is_empty() {
                let default = path.iter().fold(values, |value, key| &value[*key]);
                rows.push(Row { key: path.join("."), default: default.to_string(), about: about.clone() });
            }
        }
        about.clear();
    }
    rows
}

fn table(chart: &str) -> String {
    let mut table = "| value | default | meaning |\n| --- | --- | --- |\n".to_owned();
    for Row { key, default, about } in rows(chart) {
        writeln!(table, "| `{key}` | `{default}` | {} |", about.replace('|', "\\|")).unwrap();
    }
    table
}

/// The README with the table as it should be.
fn expected(chart: &str) -> String {
    let text = read(&format!("{chart}/README.md"));
    let (head, rest) = text.split_once(BEGIN).expect("the README has a place for the values");
    let (_, tail) = rest.split_once(END).expect("that place has an end");
    format!("{head}{BEGIN}{}{END}{tail}", table(chart))
}

#[test]
fn the_readmes_list_the_values() {
    for chart in CHARTS {
        assert!(
            read(&format!("{chart}/README.md")) == expected(chart),
            "the values of {chart}/README.md are not those of values.yaml; renew them with \
             `cargo test -p sluice-test-parts --test charts renew -- --ignored`"
        );
    }
}

#[test]
fn every_value_is_described() {
    for chart in CHARTS {
        let described: Vec<String> = rows(chart).into_iter().map(|row| row.key).collect();
        let mut leaves = Vec::new();
        collect(String::new(), &documents(&read(&format!("{chart}/values.yaml")))[0], &mut leaves);
        for leaf in leaves {
            let known = |key: &String| leaf == *key || leaf.starts_with(&format!("{key}."));
            assert!(described.iter().any(known), "{chart}: {leaf} has no comment");
        }
    }
}

fn collect(path: String, value: &Value, leaves: &mut Vec<String>) {
    match value.as_object() {
        Some(map) if !map.is_empty() => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect(path, value, leaves);
            }
        }
        _ => leaves.push(path),
    }
}

/// Not a test: writes what a test above compares.
#[test]
#[ignore = "writes the tables of the READMEs"]
fn renew() {
    for chart in CHARTS {
        fs::write(at(chart).join("README.md"), expected(chart)).unwrap();
    }
}
