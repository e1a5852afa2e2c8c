//! How fast manifests are read: prints a table, asserts nothing about time.

use std::{fmt::Write as _, time::Instant};

#[expect(clippy::print_stdout, reason = "the table is what a benchmark is for")]
fn main() {
    let files: Vec<(String, String)> = (0..10_000)
        .map(|n| {
            let mut text = String::new();
            write!(
                text,
                "apiVersion: sluice.dev/v1alpha1\nkind: Release\nmetadata:\n  name: shop-1.{n}.0\nspec:\n  app: com.example.shop\n  \
                 version: 1.{n}.0\n  bundle:\n    path: bundles/1.{n}.0\n  requires:\n    native: \">=1.0.0 <5.0.0\"\n  \
                 notes: Fixes the basket total.\n"
            )
            .expect("a string takes everything");
            (format!("shop/releases/1.{n}.0.yaml"), text)
        })
        .collect();
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    println!("{:>6} {:>12} {:>12} {:>10}", "round", "manifests/s", "MB/s", "total ms");
    for round in 1..=5 {
        let began = Instant::now();
        let objects: usize = files
            .iter()
            .map(|(path, text)| sluice_manifest::parse_file(path, text.as_bytes()).objects.len())
            .sum();
        let seconds = began.elapsed().as_secs_f64();
        assert_eq!(objects, files.len(), "every manifest is an object");
        println!(
            "{round:>6} {:>12.0} {:>12.1} {:>10.1}",
            objects as f64 / seconds,
            bytes as f64 / seconds / 1e6,
            seconds * 1e3
        );
    }
}
