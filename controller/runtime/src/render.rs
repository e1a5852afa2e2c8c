//! Problems for people, machines, GitHub annotations and code scanning.

use std::{collections::BTreeMap, fs, path::Path};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};
use sluice_core::diagnostic::{Code, Diagnostic, Severity};

use crate::args::Output;

/// Renders `problems` of the directory `root`.
pub(crate) fn problems(output: Output, problems: &[Diagnostic], root: &Path, color: bool) -> String {
    match output {
        Output::Text => text(problems, root, color),
        Output::Json => format!("{:#}\n", json!(problems)),
        Output::Github => problems.iter().map(github).collect(),
        Output::Sarif => format!("{:#}\n", sarif(problems)),
    }
}

fn text(problems: &[Diagnostic], root: &Path, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut sources: BTreeMap<&str, Option<String>> = BTreeMap::new();
    let mut out = String::new();
    for problem in problems {
        let source = sources
            .entry(problem.at.file.as_str())
            .or_insert_with(|| fs::read_to_string(root.join(&problem.at.file)).ok());
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = format!("{}: {}", problem.code, problem.message);
        let mut group = Group::with_title(level.primary_title(title.as_str()));
        match source {
            Some(source) if problem.at.line > 0 => {
                let span = span(source, problem.at.line, problem.at.column);
                let snippet = Snippet::source(source.as_str())
                    .path(problem.at.file.as_str())
                    .annotation(AnnotationKind::Primary.span(span));
                group = group.element(snippet);
            }
            _ => group = group.element(annotate_snippets::Origin::path(problem.at.file.as_str())),
        }
        out.push_str(&renderer.render(&[group]).clone());
        out.push_str("\n\n");
    }
    out
}

/// The rest of the line from the column on, as bytes of `source`.
fn span(source: &str, line: u32, column: u32) -> std::ops::Range<usize> {
    let start: usize = source.split_inclusive('\n').take(line as usize - 1).map(str::len).sum();
    let text = source[start..].lines().next().unwrap_or("");
    let skip = column.saturating_sub(1) as usize;
    let from = text.char_indices().nth(skip).map_or(text.len(), |(at, _)| at);
    let end = text.trim_end().len().max(from);
    start + from..start + end
}

fn github(problem: &Diagnostic) -> String {
    let escape = |text: &str, more: bool| {
        let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
        if more { text.replace(':', "%3A").replace(',', "%2C") } else { text }
    };
    let Diagnostic { at, severity, code, message } = problem;
    format!(
        "::{severity} file={},line={},col={},title={code}::{}\n",
        escape(&at.file, true),
        at.line.max(1),
        at.column.max(1),
        escape(message, false)
    )
}

/// SARIF 2.1.0, as code scanning services read it.
fn sarif(problems: &[Diagnostic]) -> Value {
    let level = |severity| if severity == Severity::Error { "error" } else { "warning" };
    let rules: Vec<Value> = Code::ALL
        .iter()
        .map(|code| {
            json!({
                "id": code.name(),
                "shortDescription": { "text": code.explanation().split_whitespace().collect::<Vec<_>>().join(" ") },
                "defaultConfiguration": { "level": level(code.severity()) },
            })
        })
        .collect();
    let results: Vec<Value> = problems
        .iter()
        .map(|p| {
            json!({
                "ruleId": p.code.name(),
                "level": level(p.severity),
                "message": { "text": p.message },
                "locations": [{ "physicalLocation": {
                    "artifactLocation": { "uri": p.at.file },
                    "region": { "startLine": p.at.line.max(1), "startColumn": p.at.column.max(1) },
                }}],
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{ "tool": { "driver": { "name": "sluice", "rules": rules } }, "results": results }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_core::diagnostic::Location;

    fn problem() -> Diagnostic {
        let at = Location { file: "a,b.yaml".into(), line: 2, column: 3 };
        Diagnostic::new(Code::InvalidValue, at, "wrong:\n100%")
    }

    #[test]
    fn spans_are_on_characters() {
        assert_eq!(span("ä: 1\nöx: 2\n", 2, 2), 8..12);
        assert_eq!(span("a\n", 9, 9), 2..2);
    }

    #[test]
    fn github_annotations_are_escaped() {
        assert_eq!(
            github(&problem()),
            "::error file=a%2Cb.yaml,line=2,col=3,title=InvalidValue::wrong:%0A100%25\n"
        );
    }

    #[test]
    fn text_points_at_the_place() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a,b.yaml"), "x: 1\ny: zwei\n").unwrap();
        let shown = problems(Output::Text, &[problem()], folder.path(), false);
        assert!(shown.contains("a,b.yaml:2:3"), "{shown}");
        assert!(shown.contains("InvalidValue"), "{shown}");
    }
}
