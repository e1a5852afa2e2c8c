//! Numbers, lines and commits as people read them.

use jiff::{Timestamp, tz::TimeZone};
use sluice_repo::CommitInfo;

/// Columns of the story.
const WIDTH: usize = 100;

/// A count with commas.
pub(super) fn many(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The lines of a paragraph that stands at this column. Its own indent is that of all its lines.
pub(super) fn wrapped(text: &str, column: usize) -> Vec<String> {
    let words = text.trim_start_matches(' ');
    let indent = &text[..text.len() - words.len()];
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in words.split(' ') {
        if line.is_empty() {
            line = format!("{indent}{word}");
        } else if column + line.chars().count() + word.chars().count() < WIDTH {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(std::mem::replace(&mut line, format!("{indent}{word}")));
        }
    }
    lines.push(line);
    lines
}

/// A commit as `git log` shows it.
pub(super) fn log_entry(commit: &CommitInfo) -> String {
    let CommitInfo { id, time, author, email, message, .. } = commit;
    let date = Timestamp::from_second(*time).unwrap_or_default().to_zoned(TimeZone::UTC);
    let date = date.strftime("%a %b %-d %H:%M:%S %Y %z");
    let mut text = format!("commit {id}\nAuthor: {author} <{email}>\nDate:   {date}\n\n");
    for line in message.trim_end().lines() {
        text.push_str(&if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(many(n), text);
        }
    }

    #[test]
    fn no_line_is_longer_than_the_page() {
        let text = "word ".repeat(60);
        let lines = wrapped(text.trim(), 6);
        assert!(lines.len() > 2 && lines.iter().all(|line| line.len() + 6 <= WIDTH), "{lines:?}");
        assert_eq!(lines.join(" "), text.trim());
        assert_eq!(wrapped("  indented", 0), ["  indented"]);
        let indented = wrapped(&format!("    {text}"), 0);
        assert!(indented[1].starts_with("    word"), "{indented:?}");
        assert_eq!(wrapped("", 0), [""]);
    }
}
