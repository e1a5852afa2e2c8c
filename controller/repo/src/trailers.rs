//! Trailers: the `Key: value` lines at the end of a commit message.

/// The trailer that confirms a mass delete.
pub const ALLOW_PRUNE: &str = "Sluice-Allow-Prune";

/// The trailers of a message in their order. Like Git, it looks only at the last paragraph, and only if it is not the
/// title as well; a line that is none ends the matter unless the rest is at least three quarters trailers.
pub fn parse(message: &str) -> Vec<(&str, &str)> {
    let message = message.trim_end();
    let Some((_, last)) = split_last_paragraph(message) else { return Vec::new() };
    let lines: Vec<&str> = last.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let mut found = Vec::new();
    let mut others = 0;
    for line in lines {
        // A line that begins with a blank goes on with the one before.
        if line.starts_with([' ', '\t']) {
            continue;
        }
        match trailer(line) {
            Some(pair) => found.push(pair),
            None => others += 1,
        }
    }
    if found.len() < others * 3 { Vec::new() } else { found }
}

/// How many deletions a message allows by its trailer; the last one counts.
pub fn allowed_prune(message: &str) -> Option<u64> {
    parse(message)
        .into_iter()
        .rev()
        .find(|(key, _)| key.eq_ignore_ascii_case(ALLOW_PRUNE))
        .and_then(|(_, value)| value.parse().ok())
}

fn split_last_paragraph(message: &str) -> Option<(&str, &str)> {
    let mut end = None;
    let mut offset = 0;
    for line in message.split_inclusive('\n') {
        if line.trim().is_empty() {
            end = Some(offset + line.len());
        }
        offset += line.len();
    }
    let at = end?;
    Some((&message[..at], &message[at..]))
}

fn trailer(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let key = key.trim_end();
    let valid = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    valid.then(|| (key, value.trim()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Remove old apps\n\nSluice-Allow-Prune: 7\n", Some(7))]
    #[case("Remove old apps\r\n\r\nSluice-Allow-Prune: 7\r\n", Some(7))]
    #[case("Remove\n\nBecause.\n\nSluice-Allow-Prune: 7\nSigned-off-by: A <a@b>\n", Some(7))]
    #[case("Remove\n\nsluice-allow-prune:12", Some(12))]
    #[case("Remove\n\nSluice-Allow-Prune: 1\nSluice-Allow-Prune: 2", Some(2))]
    #[case("Sluice-Allow-Prune: 7", None)]
    #[case("Remove\n\nSluice-Allow-Prune: 7\n\nAnd more text.", None)]
    #[case("Remove\n\nSluice-Allow-Prune: many", None)]
    #[case("Remove\n\nSluice-Allow-Prune: -1", None)]
    #[case("Remove\n\nhe said\nSluice-Allow-Prune: 7\nand left", None)]
    #[case("", None)]
    fn the_prune_trailer(#[case] message: &str, #[case] allowed: Option<u64>) {
        assert_eq!(allowed_prune(message), allowed);
    }
}
