//! Letting a channel refer to another release: one value in the text of its file, and nothing else of it.

use std::collections::BTreeMap;

use sluice_core::{
    channel::{Channel, Target},
    diagnostic::Position,
    ids::{AppId, ChannelName},
    inventory::{Located, Object},
};

use crate::parse_file;

/// Why a reference cannot be changed in its file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PointError {
    /// The channel is not there, or the file has mistakes.
    #[error("the file does not declare the channel without mistakes")]
    NoChannel,
    /// The value is not written where it is used: it comes from an anchor, or is folded over lines.
    #[error("the reference in line {0} is not a plain value of its own")]
    NotPlain(u32),
    /// The changed file does not mean what was wanted.
    #[error("with another value in its place the file means something else")]
    Means,
}

/// Lets the lines of a channel, by their place in it, refer to other targets in the file at `path`. Comments, quotes and
/// everything else stay as they are. What comes out is read again, and declares the same but for these targets.
pub fn point(
    path: &str,
    bytes: &[u8],
    (app, channel): (&AppId, &ChannelName),
    targets: &BTreeMap<usize, Target>,
) -> Result<Vec<u8>, PointError> {
    let before = parse_file(path, bytes).objects;
    let is_it = |located: &&Located| matches!(&located.object, Object::Channel(c) if c.app == *app && c.channel == *channel);
    let located = before.iter().find(is_it).ok_or(PointError::NoChannel)?;
    let Object::Channel(declared) = &located.object else { return Err(PointError::NoChannel) };
    let mut text = std::str::from_utf8(bytes).map_err(|_| PointError::NoChannel)?.to_owned();
    let mut wanted = Channel::clone(declared);
    let mut values = Vec::new();
    for (index, target) in targets {
        let line = wanted.lines.get_mut(*index).ok_or(PointError::NoChannel)?;
        let field = format!("spec.releases[{index}].release");
        let at = located.fields.get(&field).or_else(|| located.fields.get("spec.release"));
        values.push((*at.ok_or(PointError::NoChannel)?, line.target.to_string(), target.to_string()));
        line.target = target.clone();
    }
    // From the end, so that the places before stay where they are.
    values.sort_by_key(|(Position(line, column), ..)| std::cmp::Reverse((*line, *column)));
    for (at, old, new) in values {
        let start = offset(&text, at).ok_or(PointError::NotPlain(at.0))?;
        let start = start + usize::from(text[start..].starts_with(['"', '\'']));
        let rest = text[start..].strip_prefix(&old).ok_or(PointError::NotPlain(at.0))?;
        if rest.starts_with(|c: char| !c.is_whitespace() && !matches!(c, '"' | '\'' | ',' | '}' | ']')) {
            return Err(PointError::NotPlain(at.0));
        }
        text.replace_range(start..start + old.len(), &new);
    }
    let after = parse_file(path, text.as_bytes()).objects;
    let same = |(was, now): (&Located, &Located)| match (&was.object, &now.object) {
        (Object::Channel(was), Object::Channel(now)) if was.app == *app && was.channel == *channel => {
            **now == wanted
        }
        (was, now) => was == now,
    };
    if after.len() != before.len() || !before.iter().zip(&after).all(same) {
        return Err(PointError::Means);
    }
    Ok(text.into_bytes())
}

/// The byte at a place.
fn offset(text: &str, Position(line, column): Position) -> Option<usize> {
    let line_at = text.split_inclusive('\n').take(usize::try_from(line).ok()?.checked_sub(1)?).map(str::len);
    let start: usize = line_at.sum();
    let column = usize::try_from(column).ok()?.checked_sub(1)?;
    // A byte-order mark is no column of the first line.
    let start = start + if start == 0 && text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let (within, _) = text.get(start..)?.char_indices().nth(column)?;
    Some(start + within)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn pointed(text: &str, targets: &[(usize, &str)]) -> Result<String, PointError> {
        let targets =
            targets.iter().map(|(at, to)| (*at, Target::try_from((*to).to_owned()).unwrap())).collect();
        let of = (&"com.example.shop".parse().unwrap(), &"production".parse().unwrap());
        point("c.yaml", text.as_bytes(), of, &targets).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    const HEAD: &str = "# The shop.\napiVersion: sluice.dev/v1alpha1\nkind: Channel\nmetadata:\n  name: production\nspec:\n  app: com.example.shop\n  public: true\n";

    #[rstest]
    #[case("  release: 1.2.0\n", "  release: 1.1.0\n")]
    #[case("  release: \"1.2.0\"   # new basket\n", "  release: \"1.1.0\"   # new basket\n")]
    #[case("  release: '1.2.0'\r\n", "  release: '1.1.0'\r\n")]
    #[case("  \"release\" :  1.2.0 #1.2.0", "  \"release\" :  1.1.0 #1.2.0")]
    #[case("  release:\n    1.2.0\n", "  release:\n    1.1.0\n")]
    fn one_value_and_nothing_else(#[case] before: &str, #[case] after: &str) {
        assert_eq!(pointed(&format!("{HEAD}{before}"), &[(0, "1.1.0")]), Ok(format!("{HEAD}{after}")));
    }

    #[test]
    fn one_line_of_several_in_one_document_of_several() {
        let lines = "  releases:\n    - { native: \">=2.0.0\", release: 1.2.0 } # ü\n    - release: 1.2.0\n";
        let text = format!("kind: ConfigMap\n---\n{HEAD}{lines}---\nkind: Other\n");
        let after = text.replace("release: 1.2.0 }", "release: builtin }");
        assert_eq!(pointed(&text, &[(0, "builtin")]), Ok(after.clone()));
        let both = after.replace("- release: 1.2.0", "- release: 1.1.0");
        assert_eq!(pointed(&text, &[(0, "builtin"), (1, "1.1.0")]), Ok(both));
    }

    #[test]
    fn what_is_not_written_there_is_not_changed() {
        let anchored = format!("{HEAD}  release: *v\n").replace("public: true", "public: true # &v 1.2.0");
        assert_eq!(pointed(&anchored, &[(0, "1.1.0")]), Err(PointError::NoChannel));
        let other = format!("{HEAD}  release: 1.2.0\n").replace("name: production", "name: beta");
        assert_eq!(pointed(&other, &[(0, "1.1.0")]), Err(PointError::NoChannel));
    }
}
