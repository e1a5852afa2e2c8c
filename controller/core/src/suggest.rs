//! "Did you mean": the known word that a misspelt one is closest to, and what is said of a name that nothing has.

use std::collections::BTreeSet;

/// So many known names are listed.
const LISTED: usize = 12;

/// The word of `known` that `word` was probably meant to be.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A long word is no misspelling, and comparing it would cost for nothing.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What is said where `what`, such as a channel `of` an app, is asked for by a name that is not `known`: which there are.
pub fn unknown<'a>(
    what: &str,
    name: &str,
    of: Option<&str>,
    known: impl IntoIterator<Item = &'a str>,
) -> String {
    let known: BTreeSet<&str> = known.into_iter().collect();
    let of = of.map_or_else(String::new, |of| format!(" of {of}"));
    let mut text = format!("no {what} `{name}`{of}; ");
    if known.is_empty() {
        return text + "there is none yet";
    }
    let listed: Vec<&str> = known.iter().copied().take(LISTED).collect();
    text = format!("{text}known: {}", listed.join(", "));
    if known.len() > LISTED {
        text = format!("{text} and {} more", known.len() - LISTED);
    }
    match closest(name, known) {
        Some(meant) => format!("{text}; did you mean `{meant}`?"),
        None => text,
    }
}

/// How many insertions, deletions, replacements and swaps of neighbours make one word the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = row[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            next[j] = replaced.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                next[j] = next[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_find_their_word() {
        let known = ["app", "version", "bundle", "requires", "selfAssign"];
        for (word, expected) in [
            ("verison", Some("version")),
            ("Version", Some("version")),
            ("require", Some("requires")),
            ("self_assign", Some("selfAssign")),
            ("aps", Some("app")),
            ("channel", None),
            ("x", None),
        ] {
            assert_eq!(closest(word, known), expected, "{word}");
        }
    }

    #[test]
    fn what_there_is_is_listed() {
        assert_eq!(
            unknown("app", "com.example.shp", None, ["com.example.shop", "org.other", "com.example.shop"]),
            "no app `com.example.shp`; known: com.example.shop, org.other; did you mean `com.example.shop`?"
        );
        assert_eq!(
            unknown("channel", "beta", Some("org.other"), []),
            "no channel `beta` of org.other; there is none yet"
        );
        let many: Vec<String> = (10..40).map(|n| format!("n{n}")).collect();
        let said = unknown("channel", "production", None, many.iter().map(String::as_str));
        assert!(said.ends_with("n20, n21 and 18 more"), "{said}");
    }
}
