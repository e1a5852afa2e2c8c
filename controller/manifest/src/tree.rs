//! A YAML document as a tree in which every node knows where it is, built from the parser's events within a budget.

use std::{borrow::Cow, collections::BTreeMap};

use serde_saphyr::granit_parser::{
    ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag, options,
};
use sluice_core::diagnostic::Code;

use crate::{document::is_ours, input::narrow, limits};

/// A place in a file; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// One node.
#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    pub(crate) at: Mark,
    pub(crate) value: Value<'a>,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum Value<'a> {
    /// A scalar; `plain` when it stands without quotes, so that its type follows from its text.
    Scalar { text: Cow<'a, str>, plain: bool },
    /// A list.
    List(Vec<Node<'a>>),
    /// A mapping, in the order of the file, without duplicates.
    Map(Vec<Entry<'a>>),
}

/// One key of a mapping, and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry<'a> {
    pub(crate) key: Cow<'a, str>,
    pub(crate) key_at: Mark,
    pub(crate) value: Node<'a>,
}

impl<'a> Node<'a> {
    /// The value of a key, when this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry<'a>> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key),
            _ => None,
        }
    }

    /// The text, when this is a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// One document.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    pub(crate) root: Node<'a>,
    /// What is wrong with it as YAML although it could be read.
    pub(crate) flaws: Vec<Flaw>,
}

/// A fault that does not end the reading.
#[derive(Debug)]
pub(crate) struct Flaw {
    pub(crate) code: Code,
    pub(crate) at: Mark,
    pub(crate) message: String,
}

/// Why a document could not be read to its end.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) at: Mark,
    pub(crate) message: String,
}

/// The documents of a text, one after the other.
pub(crate) struct Documents<'a> {
    parser: Parser<'a, StrInput<'a>>,
    text: &'a str,
    first_line: usize,
}

/// A list or mapping that is not closed yet.
struct Open<'a> {
    at: Mark,
    anchor: usize,
    /// Nodes of the document before it.
    before: usize,
    /// Levels below it, so far.
    depth: usize,
    body: Body<'a>,
}

enum Body<'a> {
    List(Vec<Node<'a>>),
    Map { entries: Vec<Entry<'a>>, key: Option<(Cow<'a, str>, Mark, bool)> },
}

/// An anchored node, with what each alias of it costs.
struct Anchored<'a> {
    node: Node<'a>,
    nodes: usize,
    depth: usize,
}

struct Builder<'a> {
    open: Vec<Open<'a>>,
    anchors: BTreeMap<usize, Anchored<'a>>,
    nodes: usize,
    flaws: Vec<Flaw>,
    root: Option<Node<'a>>,
    /// Its `apiVersion` says that it is somebody else's.
    foreign: bool,
}

impl<'a> Documents<'a> {
    /// Reads `text`, which begins at line `first_line` of its file.
    pub(crate) fn new(text: &'a str, first_line: usize) -> Self {
        let options = options! {
            emit_comments: false,
            flow_nesting_limit: limits::DEPTH,
            block_nesting_limit: limits::DEPTH,
        };
        Self { parser: Parser::new_from_str_with_options(text, options), text, first_line }
    }

    /// The next document. There is none after a failure, or after one that says, before any fault, that it is
    /// somebody else's.
    pub(crate) fn next(&mut self) -> Result<Option<Tree<'a>>, Failure> {
        let mut builder = Builder {
            open: Vec::new(),
            anchors: BTreeMap::new(),
            nodes: 0,
            flaws: Vec::new(),
            root: None,
            foreign: false,
        };
        loop {
            let result = match self.parser.next_event() {
                None | Some(Ok((Event::StreamEnd, _))) => return Ok(None),
                Some(Ok((Event::DocumentEnd, _))) => {
                    return Ok(builder.root.map(|root| Tree { root, flaws: builder.flaws }));
                }
                Some(Ok((event, span))) => {
                    let at = self.mark(&span);
                    builder.take(event, at)
                }
                Some(Err(error)) => Err(self.scan_failure(&error)),
            };
            if builder.foreign {
                return Ok(None);
            }
            result?;
        }
    }

    fn mark(&self, span: &Span) -> Mark {
        Mark { line: narrow(span.start.line() + self.first_line - 1), column: narrow(span.start.col() + 1) }
    }

    fn scan_failure(&self, error: &ScanError) -> Failure {
        let marker = error.marker();
        let (line, column) = (marker.line(), marker.col() + 1);
        let (code, message, (line, column)) = match error.kind() {
            ErrorKind::RecursionLimitExceeded => (Code::TooComplex, too_deep(), (line, column)),
            ErrorKind::UnknownAnchor => {
                let message = "the alias has no anchor before it in this document; write the value out";
                (Code::Syntax, message.to_owned(), (line, column))
            }
            kind => match self.indenting_tab(line) {
                Some(place) => {
                    let message =
                        "there is a tab in the indentation, where YAML allows only spaces; replace it";
                    (Code::Syntax, message.to_owned(), place)
                }
                None => (Code::Syntax, format!("this is not YAML: {kind}"), (line, column)),
            },
        };
        let at = Mark { line: narrow(line + self.first_line - 1), column: narrow(column) };
        Failure { code, at, message }
    }

    /// A tab that indents the line of a fault or the one after it. The parser blames what stands before it.
    fn indenting_tab(&self, line: usize) -> Option<(usize, usize)> {
        self.text.lines().enumerate().skip(line.saturating_sub(1)).take(2).find_map(|(index, text)| {
            let indent = &text[..text.len() - text.trim_start().len()];
            indent.chars().position(|c| c == '\t').map(|column| (index + 1, column + 1))
        })
    }
}

fn too_deep() -> String {
    format!("lists and mappings stand more than {} deep inside each other; write it flatter", limits::DEPTH)
}

impl<'a> Builder<'a> {
    fn take(&mut self, event: Event<'a>, at: Mark) -> Result<(), Failure> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(1, at)?;
                let plain = style == ScalarStyle::Plain && !self.is_text(tag.as_deref(), at);
                let node = Node { at, value: Value::Scalar { text, plain } };
                if anchor != 0 {
                    self.anchors.insert(anchor, Anchored { node: node.clone(), nodes: 1, depth: 0 });
                }
                self.place(node, plain, 0)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.is_text(tag.as_deref(), at);
                self.begin(at, anchor, Body::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.is_text(tag.as_deref(), at);
                self.begin(at, anchor, Body::Map { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => {
                let Some(Anchored { node, nodes, depth }) = self.anchors.get(&id) else {
                    return Err(fail(
                        Code::Syntax,
                        at,
                        "the alias refers to what it stands in; write the value out",
                    ));
                };
                let (nodes, depth) = (*nodes, *depth);
                // The price is paid before the copy is made.
                self.nodes += nodes;
                if self.nodes <= limits::NODES && self.open.len() + depth > limits::DEPTH {
                    return Err(fail(Code::TooComplex, at, &too_deep()));
                }
                self.within_budget(at)?;
                let node = Node { at, value: node.value.clone() };
                let plain = matches!(node.value, Value::Scalar { plain: true, .. });
                self.place(node, plain, depth)
            }
            _ => Ok(()),
        }
    }

    /// Counts nodes against the budget.
    fn spend(&mut self, nodes: usize, at: Mark) -> Result<(), Failure> {
        self.nodes += nodes;
        self.within_budget(at)
    }

    fn within_budget(&self, at: Mark) -> Result<(), Failure> {
        if self.nodes > limits::NODES {
            let message = format!(
                "the document has more than {} values, those behind aliases counted each time; write it out flat, or \
                 split it",
                limits::NODES
            );
            return Err(fail(Code::TooComplex, at, &message));
        }
        Ok(())
    }

    fn begin(&mut self, at: Mark, anchor: usize, body: Body<'a>) -> Result<(), Failure> {
        let before = self.nodes;
        self.spend(1, at)?;
        if self.open.len() >= limits::DEPTH {
            return Err(fail(Code::TooComplex, at, &too_deep()));
        }
        self.open.push(Open { at, anchor, before, depth: 0, body });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        let Some(Open { at, anchor, before, depth, body }) = self.open.pop() else { return Ok(()) };
        let value = match body {
            Body::List(items) => Value::List(items),
            Body::Map { entries, .. } => Value::Map(self.merged(entries)),
        };
        let node = Node { at, value };
        if anchor != 0 {
            let nodes = self.nodes - before;
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, depth: depth + 1 });
        }
        self.place(node, false, depth + 1)
    }

    /// Puts a finished node where it belongs. `depth` counts the levels of lists and mappings that it is.
    fn place(&mut self, node: Node<'a>, plain: bool, depth: usize) -> Result<(), Failure> {
        let at_root = self.open.len() == 1;
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        parent.depth = parent.depth.max(depth);
        match &mut parent.body {
            Body::List(items) => items.push(node),
            Body::Map { entries, key } => match key.take() {
                None => {
                    let Value::Scalar { text, .. } = node.value else {
                        return Err(fail(
                            Code::Syntax,
                            node.at,
                            "a key must be plain text, not a list or a mapping",
                        ));
                    };
                    *key = Some((text, node.at, plain));
                }
                Some((text, key_at, merge)) => {
                    if merge && text == "<<" {
                        entries.push(Entry { key: Cow::Borrowed("<<"), key_at, value: node });
                    } else if let Some(first) = entries.iter().find(|e| e.key == text) {
                        let message = format!(
                            "`{text}` stands here twice, first on line {}; remove one",
                            first.key_at.line
                        );
                        self.flaws.push(Flaw { code: Code::DuplicateKey, at: key_at, message });
                    } else {
                        if at_root && text == "apiVersion" && node.text().is_some_and(|v| !is_ours(v)) {
                            self.foreign = true;
                        }
                        entries.push(Entry { key: text, key_at, value: node });
                    }
                }
            },
        }
        Ok(())
    }

    /// Fills in what merge keys (`<<`) bring: keys that the mapping itself does not have.
    fn merged(&mut self, mut entries: Vec<Entry<'a>>) -> Vec<Entry<'a>> {
        while let Some(index) = entries.iter().position(|e| e.key == "<<") {
            let Entry { key_at, value, .. } = entries.remove(index);
            let sources = match value.value {
                Value::List(items) => items,
                _ => vec![value],
            };
            for source in sources {
                let Value::Map(more) = source.value else {
                    let message = "`<<` merges mappings; put an alias of a mapping here".to_owned();
                    self.flaws.push(Flaw { code: Code::Syntax, at: key_at, message });
                    continue;
                };
                for entry in more {
                    if entries.iter().all(|e| e.key != entry.key) {
                        entries.push(entry);
                    }
                }
            }
        }
        entries
    }

    /// Whether a tag says that a scalar is text. Tags of programs are refused.
    fn is_text(&mut self, tag: Option<&Tag>, at: Mark) -> bool {
        let Some(tag) = tag else { return false };
        match tag.core_suffix() {
            Some("str") => true,
            Some("int" | "float" | "bool" | "null" | "map" | "seq") => false,
            _ => {
                let message = format!("the tag `{}` means nothing here; remove it", tag.original());
                self.flaws.push(Flaw { code: Code::Syntax, at, message });
                false
            }
        }
    }
}

fn fail(code: Code, at: Mark, message: &str) -> Failure {
    Failure { code, at, message: message.to_owned() }
}
