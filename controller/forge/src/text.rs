//! Texts that go to hosts and come from them.

/// What stands where something was left out.
const ELLIPSIS: &str = "…";

/// A text of at most `most` UTF-16 units, which is how the strictest hosts count.
pub(crate) fn fit(text: &str, most: usize) -> String {
    if text.encode_utf16().count() <= most {
        return text.to_owned();
    }
    let mut left = most.saturating_sub(1);
    let kept = text.chars().take_while(|c| {
        let fits = c.len_utf16() <= left;
        left = left.saturating_sub(c.len_utf16());
        fits
    });
    kept.collect::<String>() + ELLIPSIS
}

/// The same on one line.
pub(crate) fn line(text: &str, most: usize) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() || "\u{2028}\u{2029}".contains(c) { ' ' } else { c })
        .collect();
    fit(text.trim(), most)
}

/// A text of which GitLab takes no line as a command (`/merge`, `/close`): the texts of rollbacks quote what others wrote.
pub(crate) fn without_commands(text: &str) -> String {
    let escaped = text.split('\n').map(|line| match line.trim_start() {
        rest if rest.starts_with('/') => format!("{}\\{rest}", &line[..line.len() - rest.len()]),
        _ => line.to_owned(),
    });
    escaped.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(fit("größer", 6), "größer");
        assert_eq!(fit("größer", 5), "größ…");
        assert_eq!(fit("a😀b", 3), "a…");
        assert_eq!(fit("ab", 0), "…");
        assert_eq!(line(" a\nb\u{2028}c ", 9), "a b c");
    }

    #[test]
    fn commands_are_shown_and_not_done() {
        let text = "said:\n/merge\r\n  /close\na/b\n/";
        assert_eq!(without_commands(text), "said:\n\\/merge\r\n  \\/close\na/b\n\\/");
    }
}
