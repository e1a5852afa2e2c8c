//! No input makes the parser panic, lose a problem without saying so, or report a place that does not exist.

use proptest::prelude::*;
use sluice_core::diagnostic::Severity;
use sluice_manifest::parse_file;

const VALID: &str = "apiVersion: sluice.dev/v1alpha1\nkind: Channel\nmetadata:\n  name: shop\nspec:\n  app: com.example.shop\n  \
                     releases:\n    - { native: \">=4.0.0\", release: 2.1.0 }\n    - { platforms: [ios], release: builtin }\n  \
                     public: true\n  rollout:\n    steps: &s\n      - { weight: 1%, soak: 30m }\n    maxHold: \
                     24h\n---\napiVersion: sluice.dev/v1alpha1\nkind: Release\nmetadata:\n  name: shop-1\nspec:\n  app: \
                     com.example.shop\n  version: 1.0.0\n  bundle:\n    path: a\n  notes: |\n    Grüße\n";

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    let file = parse_file("a/b.yaml", bytes);
    let text = String::from_utf8_lossy(bytes);
    let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count();
    for problem in &file.problems {
        prop_assert!(problem.at.line as usize <= lines + 1, "{}", problem);
        prop_assert!(!problem.message.is_empty() && problem.message.len() < 20_000);
    }
    if !file.complete {
        prop_assert!(
            file.problems.iter().any(|p| p.severity == Severity::Error),
            "incomplete without a reason"
        );
    }
    for object in &file.objects {
        prop_assert!(!object.object.name().is_empty());
        prop_assert!(object.fields.contains_key("spec.app"));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        check(&bytes)?;
        check(&[b"a: sluice.dev\n", &bytes[..]].concat())?;
    }

    #[test]
    fn any_text_of_yaml_characters(text in "([-:,\\[\\]{}#&*!|>'\"%@` \t\na-c0-9.~]|---\n|<<: |sluice.dev/v1alpha1){0,80}") {
        check(text.as_bytes())?;
        check(format!("apiVersion: sluice.dev/v1alpha1\nkind: Release\n{text}").as_bytes())?;
        check(format!("apiVersion: sluice.dev/v1alpha1\nkind: Channel\nmetadata: {{name: a}}\nspec:\n  {text}").as_bytes())?;
    }

    #[test]
    fn mutated_documents(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..6, "[-:,\\[\\]{}#&*!|>'\"%\ta-z0-9.\n ]{0,3}"), 1..5)
    ) {
        let mut text: Vec<char> = VALID.chars().collect();
        for (at, removed, inserted) in edits {
            let at = at.index(text.len());
            let end = (at + removed).min(text.len());
            text.splice(at..end, inserted.chars());
        }
        check(text.into_iter().collect::<String>().as_bytes())?;
    }

    #[test]
    fn any_value_of_a_field(
        field in prop::sample::select(vec!["app", "version", "bundle", "requires", "rollback", "notes", "link", "labels", "releases", "rollout"]),
        value in "\\PC{0,40}",
    ) {
        let quoted = serde_json::to_string(&value).unwrap();
        for value in [&value, &quoted] {
            for kind in ["Release", "Channel"] {
                check(format!("apiVersion: sluice.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: a}}\nspec:\n  {field}: {value}\n").as_bytes())?;
            }
        }
    }
}

#[test]
fn the_document_that_is_mutated_is_valid() {
    let file = parse_file("a/b.yaml", VALID.as_bytes());
    assert_eq!(file.problems, []);
    assert_eq!(file.objects.len(), 2);
}
