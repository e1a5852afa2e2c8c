//! One document: whose it is, of which kind, and what it declares.

use serde_json::Value as Json;
use sluice_core::{
    diagnostic::{Code, Diagnostic, Severity},
    inventory::{Located, Object},
    suggest::closest,
};

use crate::{
    channel, release,
    shape::shapes,
    tree::{Flaw, Node, Tree, Value},
    walk::Walk,
};

/// What was read from a document of ours.
pub(crate) struct Read {
    /// The object; `None` when something is wrong with it.
    pub(crate) object: Option<Located>,
    pub(crate) problems: Vec<Diagnostic>,
    /// The document as JSON, with the types that the schema asks for.
    pub(crate) json: Json,
}

/// The kinds of the group, and whether Git may hold them.
const KINDS: [(&str, bool); 4] =
    [("Release", true), ("Channel", true), ("Repository", false), ("Rollback", false)];

/// Whether an `apiVersion` is of our group.
pub(crate) fn is_ours(api_version: &str) -> bool {
    api_version.strip_prefix(sluice_crds::GROUP).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Reads a document; `None` when it is not ours.
pub(crate) fn read(file: &str, tree: Tree<'_>) -> Option<Read> {
    let Tree { root, flaws } = tree;
    let mut walk = Walk::new(file);
    let Ok(kind) = identify(&root, &mut walk)? else {
        return Some(Read { object: None, problems: walk.problems, json: Json::Null });
    };
    for Flaw { code, at, message } in flaws {
        let at = walk.location(at);
        walk.report(code, at, &message);
    }
    let Value::Map(entries) = &root.value else { return None };
    let shape = if kind == "Release" { &shapes().release } else { &shapes().channel };
    let json = walk.object(shape, entries, root.at);
    let object = if kind == "Release" {
        release::read(file, &json, &mut walk).map(Box::new).map(Object::Release)
    } else {
        channel::read(&json, &mut walk).map(Box::new).map(Object::Channel)
    };
    let Walk { problems, fields, .. } = walk;
    let at = sluice_core::diagnostic::Location {
        file: file.to_owned(),
        line: root.at.line,
        column: root.at.column,
    };
    let object =
        object.map(|object| Located { object, at, fields, stale: false, held: false, refused: None });
    Some(Read { object, problems, json })
}

/// The kind of a document of ours, or that a problem with it was reported; `None` when it is not ours.
fn identify<'n>(root: &'n Node<'_>, walk: &mut Walk<'_>) -> Option<Result<&'n str, ()>> {
    let Value::Map(entries) = &root.value else { return None };
    let Some(api_version) = root.get("apiVersion") else {
        let misspelt =
            entries.iter().find(|e| e.value.text().is_some_and(|v| v.starts_with("sluice.dev/v")))?;
        let message =
            format!("`{}` is not a field of the document; did you mean `apiVersion`?", misspelt.key);
        let at = walk.location(misspelt.key_at);
        walk.report(Code::UnknownField, at, &message);
        return Some(Err(()));
    };
    let text = api_version.value.text().filter(|text| is_ours(text))?;
    if text != sluice_crds::API_VERSION {
        let message = format!(
            "`{text}` is not a version that this program knows; write `{}`",
            sluice_crds::API_VERSION
        );
        let at = walk.location(api_version.value.at);
        walk.report(Code::UnknownVersion, at, &message);
        return Some(Err(()));
    }
    let Some(kind) = root.get("kind").filter(|kind| kind.value.text().is_some()) else {
        let at = walk.location(root.at);
        walk.report(
            Code::MissingField,
            at,
            "`kind` is missing in the document; write `kind: Release` or `kind: Channel`",
        );
        return Some(Err(()));
    };
    let name = kind.value.text().unwrap_or_default();
    let (code, message) = match KINDS.iter().find(|(known, _)| *known == name) {
        Some((_, true)) => return Some(Ok(name)),
        Some(_) if name == "Repository" => (
            Code::KindNotInGit,
            "a Repository is not read from Git: the platform team applies it with kubectl or Helm; remove it here".to_owned(),
        ),
        Some(_) => (
            Code::KindNotInGit,
            "a Rollback is not read from Git: the gate or a person creates it; remove it here, and revert the commit to \
             go back"
                .to_owned(),
        ),
        None => {
            let hint = closest(name, KINDS.iter().map(|(known, _)| *known)).map_or_else(
                || "Git may hold Release and Channel".to_owned(),
                |known| format!("did you mean `{known}`?"),
            );
            let name: String = name.chars().take(64).collect();
            (Code::UnknownKind, format!("`{name}` is not a kind of sluice.dev; {hint}"))
        }
    };
    let at = walk.location(kind.value.at);
    walk.report(code, at, &message);
    Some(Err(()))
}

/// Makes a type of a part of the document that the schema found nothing wrong with.
pub(crate) fn typed<T: serde::de::DeserializeOwned>(json: &Json, walk: &mut Walk<'_>) -> Option<T> {
    if walk.problems.iter().any(|p| p.severity == Severity::Error) {
        return None;
    }
    match T::deserialize(json) {
        Ok(value) => Some(value),
        Err(e) => {
            walk.report_field(Code::InvalidValue, "spec", &e.to_string());
            None
        }
    }
}

/// Reports a value that its check let through and its type does not take; `None` then.
pub(crate) fn accept<T, E: ToString>(value: Result<T, E>, field: &str, walk: &mut Walk<'_>) -> Option<T> {
    value.map_err(|e| walk.report_field(Code::InvalidValue, field, &e.to_string())).ok()
}
