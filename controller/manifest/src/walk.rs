//! Holds a document against its shape: every deviation is reported, and what remains is a value to make types of.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use sluice_core::{
    diagnostic::{Code, Diagnostic, Location, Position},
    suggest::closest,
};

use crate::{
    limits,
    scalar::{Plain, plain},
    shape::{Object, Shape, Text},
    tree::{Entry, Mark, Node, Value},
};

/// One reading of one document.
pub(crate) struct Walk<'f> {
    file: &'f str,
    path: String,
    /// What was found wrong.
    pub(crate) problems: Vec<Diagnostic>,
    /// Where each field is: a scalar's value, else its key.
    pub(crate) fields: BTreeMap<String, Position>,
}

impl<'f> Walk<'f> {
    pub(crate) fn new(file: &'f str) -> Self {
        Self { file, path: String::new(), problems: Vec::new(), fields: BTreeMap::new() }
    }

    /// The place of a mark.
    pub(crate) fn location(&self, at: Mark) -> Location {
        Location { file: self.file.to_owned(), line: at.line, column: at.column }
    }

    /// Reports a problem.
    pub(crate) fn report(&mut self, code: Code, at: Location, message: &str) {
        if !self.is_full() {
            self.problems.push(Diagnostic::new(code, at, printable(message)));
        }
    }

    /// Whether nothing more is reported of this document.
    fn is_full(&self) -> bool {
        self.problems.len() >= limits::PROBLEMS
    }

    /// Reports a problem of a field, or of the closest thing around it that is there.
    pub(crate) fn report_field(&mut self, code: Code, field: &str, message: &str) {
        let mut path = field;
        let at = loop {
            if let Some(at) = self.fields.get(path) {
                break at.within(self.file);
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => break Location { file: self.file.to_owned(), line: 0, column: 0 },
            }
        };
        self.report(code, at, message);
    }

    fn say(&mut self, code: Code, at: Mark, message: &str) {
        let at = self.location(at);
        self.report(code, at, message);
    }

    /// How the present field is called in messages.
    fn name(&self) -> &str {
        if self.path.is_empty() { "the document" } else { &self.path }
    }

    /// Reads a mapping with known fields. `at` is where it is introduced.
    pub(crate) fn object(&mut self, shape: &Object, entries: &[Entry<'_>], at: Mark) -> Json {
        let mut object = Map::new();
        for Entry { key, key_at, value } in entries {
            let Some(inner) = shape.field(key) else {
                self.unknown(shape, key, *key_at);
                continue;
            };
            let outer = self.path.len();
            if outer > 0 {
                self.path.push('.');
            }
            self.path.push_str(key);
            if let Some(json) = self.node(inner, value, *key_at) {
                object.insert(key.to_string(), json);
            }
            self.path.truncate(outer);
        }
        for name in &shape.required {
            if entries.iter().all(|e| e.key != name.as_str()) {
                let message = format!("`{name}` is missing in {}; add it", self.name());
                self.say(Code::MissingField, at, &message);
            }
        }
        Json::Object(object)
    }

    fn unknown(&mut self, shape: &Object, key: &str, at: Mark) {
        if self.is_full() {
            return;
        }
        let hint = if let Some(name) = closest(key, shape.names()) {
            format!("did you mean `{name}`?")
        } else if let Some(path) = shape.deeper(key) {
            let prefix = if self.path.is_empty() { String::new() } else { format!("{}.", self.path) };
            format!("it belongs in `{prefix}{path}`")
        } else {
            format!("the fields here are {}", shape.names().collect::<Vec<_>>().join(", "))
        };
        let message = format!("`{}` is not a field of {}; {hint}", short(key), self.name());
        self.say(Code::UnknownField, at, &message);
    }

    fn node(&mut self, shape: &Shape, node: &Node<'_>, key_at: Mark) -> Option<Json> {
        if matches!(shape, Shape::Any) {
            return None;
        }
        let is_null =
            matches!(&node.value, Value::Scalar { text, plain: true } if plain(text) == Plain::Null);
        let at = if matches!(node.value, Value::Scalar { .. }) && !is_null { node.at } else { key_at };
        if !matches!(shape, Shape::Map { .. }) {
            self.fields.insert(self.path.clone(), Position(at.line, at.column));
        }
        if matches!(shape, Shape::Reserved) {
            let message = format!(
                "`{}` is reserved for a later release and not supported yet; remove it, since serving without it could \
                 reach the wrong devices",
                self.path
            );
            self.say(Code::FieldNotSupported, key_at, &message);
            return None;
        }
        if is_null {
            if !matches!(shape, Shape::Map { nullable: true, .. }) {
                let message = format!("`{}` has no value; give it one, or remove the line", self.path);
                self.say(Code::InvalidValue, at, &message);
            }
            return None;
        }
        match (shape, &node.value) {
            (Shape::Text(shape), Value::Scalar { text, plain }) => self.text(shape, text, *plain, node.at),
            (Shape::Flag, Value::Scalar { text, plain }) => self.flag(text, *plain, node.at),
            (Shape::Whole { least, most }, Value::Scalar { text, plain }) => {
                self.whole(*least, *most, text, *plain, node.at)
            }
            (Shape::List { items, least, most, distinct }, Value::List(nodes)) => {
                self.list(items, (*least, *most), *distinct, nodes, key_at)
            }
            (Shape::Object(shape), Value::Map(entries)) => Some(self.object(shape, entries, key_at)),
            (Shape::Map { values, most, .. }, Value::Map(entries)) => {
                Some(self.map(values, *most, entries, key_at))
            }
            (shape, found) => {
                let message = format!("`{}` must be {}, not {}", self.path, wanted(shape), called(found));
                self.say(Code::InvalidValue, at, &message);
                None
            }
        }
    }

    fn text(&mut self, shape: &Text, text: &str, is_plain: bool, at: Mark) -> Option<Json> {
        let refusal = refuse_text(shape, text).or_else(|| {
            let kind = match plain(text) {
                _ if !is_plain => return None,
                Plain::Text | Plain::Null => return None,
                Plain::Flag(_) => "a truth value",
                Plain::OldFlag(true) => "`true`",
                Plain::OldFlag(false) => "`false`",
                Plain::Whole(_) | Plain::Fraction => "a number",
            };
            let message = format!("without quotes this is read as {kind}, not as text; write \"{text}\"");
            Some((Code::InvalidValue, message))
        });
        let Some((code, reason)) = refusal else { return Some(Json::String(text.to_owned())) };
        let message = format!("`{}`: {reason}", self.path);
        self.say(code, at, &message);
        None
    }

    fn flag(&mut self, text: &str, is_plain: bool, at: Mark) -> Option<Json> {
        let hint = match plain(text) {
            Plain::Flag(flag) if is_plain => return Some(Json::Bool(flag)),
            Plain::Flag(flag) => format!("; write {flag} without quotes"),
            Plain::OldFlag(flag) => format!("; write {flag}"),
            _ => String::new(),
        };
        let message = format!("`{}` must be true or false, not `{}`{hint}", self.path, short(text));
        self.say(Code::InvalidValue, at, &message);
        None
    }

    fn whole(&mut self, least: i64, most: i64, text: &str, is_plain: bool, at: Mark) -> Option<Json> {
        match plain(text) {
            Plain::Whole(Some(number)) if is_plain && (least..=most).contains(&number) => {
                Some(Json::from(number))
            }
            _ => {
                let message = format!(
                    "`{}` must be a whole number from {least} to {most}, not `{}`",
                    self.path,
                    short(text)
                );
                self.say(Code::InvalidValue, at, &message);
                None
            }
        }
    }

    fn list(
        &mut self,
        items: &Shape,
        (least, most): (usize, usize),
        distinct: bool,
        nodes: &[Node<'_>],
        key_at: Mark,
    ) -> Option<Json> {
        if nodes.len() < least || nodes.len() > most {
            let message = if nodes.is_empty() {
                format!("`{}` must not be empty; give it an entry, or remove it", self.path)
            } else {
                format!("`{}` must have {least} to {most} entries, not {}", self.path, nodes.len())
            };
            self.say(Code::InvalidValue, key_at, &message);
        }
        let mut list = Vec::new();
        let mut well = true;
        for (index, node) in nodes.iter().take(most).enumerate() {
            let outer = self.path.len();
            self.path.push('[');
            self.path.push_str(&index.to_string());
            self.path.push(']');
            match self.node(items, node, node.at) {
                // The value is not repeated: it may be the id of a device.
                Some(json) if distinct && list.contains(&json) => {
                    let first = list.iter().position(|known| *known == json).unwrap_or(0);
                    let message = format!(
                        "`{}` stands twice in this list, first as entry [{first}]; remove one",
                        self.path
                    );
                    self.say(Code::InvalidValue, node.at, &message);
                }
                Some(json) => list.push(json),
                None => well = false,
            }
            self.path.truncate(outer);
        }
        well.then_some(Json::Array(list))
    }

    fn map(&mut self, values: &Text, most: usize, entries: &[Entry<'_>], key_at: Mark) -> Json {
        if entries.len() > most {
            let message = format!("`{}` may have {most} entries at most, not {}", self.path, entries.len());
            self.say(Code::InvalidValue, key_at, &message);
        }
        let mut object = Map::new();
        for Entry { key, key_at, value } in entries.iter().take(most) {
            let outer = self.path.len();
            self.path.push('.');
            self.path.push_str(&short(key));
            match &value.value {
                _ if key.chars().count() > 317 => {
                    self.say(
                        Code::InvalidValue,
                        *key_at,
                        "this key is longer than 317 characters; shorten it",
                    );
                }
                Value::Scalar { text, plain: is_plain } => {
                    let is_null = *is_plain && plain(text) == Plain::Null;
                    let text = if is_null { "" } else { text };
                    if let Some(json) = self.text(values, text, *is_plain && !is_null, value.at) {
                        object.insert(key.to_string(), json);
                    }
                }
                found => {
                    let message = format!("`{}` must be text, not {}", self.path, called(found));
                    self.say(Code::InvalidValue, *key_at, &message);
                }
            }
            self.path.truncate(outer);
        }
        Json::Object(object)
    }
}

/// What the shape says against a text, whatever its quotes.
fn refuse_text(shape: &Text, text: &str) -> Option<(Code, String)> {
    let Text { least, most, choices, check } = shape;
    if !choices.is_empty() {
        if choices.iter().any(|c| c == text) {
            return None;
        }
        let hint = closest(text, choices.iter().map(String::as_str))
            .map_or_else(String::new, |choice| format!("; did you mean `{choice}`?"));
        let message = format!("`{}` is none of {}{hint}", short(text), choices.join(", "));
        return Some((Code::InvalidValue, message));
    }
    // Characters are at most bytes, and few texts are long: counting is seldom needed.
    if text.len() > *most && text.chars().count() > *most {
        let message = format!("this is longer than {most} characters; shorten it");
        return Some((Code::InvalidValue, message));
    }
    let refused = check.and_then(|check| check(text).err());
    if refused.is_none() && text.len() < *least {
        let message = if text.is_empty() {
            "this is empty; give it a value".to_owned()
        } else {
            "this is too short".to_owned()
        };
        return Some((Code::InvalidValue, message));
    }
    refused
}

/// The message without control characters of the document, which must not reach a terminal.
pub(crate) fn printable(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A piece of a document that can stand in a message.
fn short(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn called(value: &Value<'_>) -> &'static str {
    match value {
        Value::Scalar { .. } => "a single value",
        Value::List(_) => "a list",
        Value::Map(_) => "a mapping",
    }
}

fn wanted(shape: &Shape) -> String {
    match shape {
        Shape::Text(_) => "text".into(),
        Shape::Flag => "true or false".into(),
        Shape::Whole { .. } => "a whole number".into(),
        Shape::List { .. } => "a list".into(),
        Shape::Object(object) => format!("a mapping with {}", object.names().collect::<Vec<_>>().join(", ")),
        Shape::Map { .. } | Shape::Reserved | Shape::Any => "a mapping".into(),
    }
}
