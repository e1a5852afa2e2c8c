//! The pages about clusters lead where they say, and name what there is.

use std::{fs, path::Path};

use crate::support::{Values, at, read, render};

/// The pages of these tests.
fn pages() -> Vec<String> {
    let runbooks = fs::read_dir(at("docs/runbooks")).unwrap();
    let runbooks =
        runbooks.map(|entry| format!("docs/runbooks/{}", entry.unwrap().file_name().to_str().unwrap()));
    let mut pages: Vec<String> = runbooks.collect();
    pages.extend(
        [
            "docs/kubernetes.md",
            "charts/sluice/README.md",
            "charts/sluice-crds/README.md",
            "examples/cluster/README.md",
        ]
        .map(str::to_owned),
    );
    pages
}

/// The anchors of a page's headings, as Git hosts make them.
fn anchors(page: &str) -> Vec<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            let kept = text.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
            kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut followed = 0;
    for page in pages() {
        let text = read(&page);
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                at(&page)
            } else {
                at(&page).parent().unwrap_or(Path::new("")).join(file)
            };
            assert!(target.exists(), "{page}: {link}");
            if !anchor.is_empty() {
                let there = anchors(&fs::read_to_string(&target).unwrap());
                assert!(there.iter().any(|known| known == anchor), "{page}: {link} is not among {there:?}");
            }
            followed += 1;
        }
    }
    assert!(followed >= 20, "{followed}");
}

#[test]
fn values_that_the_pages_name_exist() {
    let schema: serde_json::Value = serde_json::from_str(&read("charts/sluice/values.schema.json")).unwrap();
    let top: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    let mut named = 0;
    for page in pages().into_iter().filter(|page| !page.contains("sluice-crds")) {
        let text = read(&page);
        for word in text.split('`').skip(1).step_by(2) {
            let key = word.split('=').next().unwrap();
            let (first, rest) = key.split_once('.').unwrap_or((key, ""));
            let is_key =
                !rest.is_empty() && key.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '.');
            if is_key && top.iter().any(|known| *known == first) {
                let found = key.split('.').fold(&schema, |level, part| &level["properties"][part]);
                assert!(found.is_object(), "{page} names the value {key}");
                named += 1;
            }
        }
    }
    assert!(named >= 20, "{named}");
}

/// The pages speak of the release `sluice` in `sluice-system`; what they name is what that release makes.
#[test]
fn the_roles_that_the_pages_name_are_made() {
    let text = read("docs/kubernetes.md");
    let objects = render(&Values::new());
    let mut named = 0;
    for role in text.split("--clusterrole=").skip(1).map(|rest| rest.split_whitespace().next().unwrap()) {
        let made = |object: &&serde_json::Value| {
            object["kind"] == "ClusterRole" && object["metadata"]["name"] == role
        };
        assert!(objects.iter().any(|object| made(&object)), "{role}");
        named += 1;
    }
    assert!(named >= 1);
}
