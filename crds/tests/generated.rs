//! The generated files are those that the types describe.

use std::path::Path;

#[test]
fn generated_files_are_current() {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate stands in the project's root");
    for (path, expected) in sluice_crds::generated() {
        let found = std::fs::read_to_string(root.join(&path)).unwrap_or_default();
        assert!(
            found == expected,
            "{path} is not what the types say; renew it with `cargo run --bin sluice -- generate`"
        );
    }
}

#[test]
fn no_generated_file_is_left_over() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let expected = sluice_crds::generated();
    for directory in ["generated", "schemas"] {
        for entry in std::fs::read_dir(root.join(directory)).unwrap() {
            let path = format!("crds/{directory}/{}", entry.unwrap().file_name().to_str().unwrap());
            assert!(
                expected.iter().any(|(known, _)| *known == path),
                "{path} is not generated any more; remove it"
            );
        }
    }
}
