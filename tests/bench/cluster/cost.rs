//! What something costs the API server: requests; and its processes.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
};

use serde::Deserialize;

use crate::usage::{processes, stat};

/// The child of this process that runs a program.
pub fn child(program: &str) -> u32 {
    let name = &program[..program.len().min(15)];
    let mine = processes().into_iter().filter(|(_, parent)| *parent == std::process::id());
    let mut found = mine.map(|(id, _)| id).filter(|id| stat(*id).is_some_and(|(comm, _)| comm == name));
    found.next().unwrap_or_else(|| panic!("{program} does not run"))
}

/// The audit log of the API server, read on from where the last look ended.
#[derive(Debug)]
pub struct Requests {
    log: PathBuf,
    user: String,
    read: u64,
}

/// Requests by verb and resource, such as `patch channels/status`.
pub type Counted = BTreeMap<String, usize>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    user: User,
    #[serde(default)]
    object_ref: ObjectRef,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ObjectRef {
    resource: String,
    subresource: String,
}

impl Requests {
    /// Counts what a user asks from now on.
    pub fn of(log: PathBuf, user: String) -> Self {
        let read = fs::metadata(&log).unwrap().len();
        Self { log, user, read }
    }

    /// What was asked since the last call.
    pub fn since(&mut self) -> Counted {
        let mut file = File::open(&self.log).unwrap();
        file.seek(SeekFrom::Start(self.read)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        let mut counted = Counted::new();
        for line in text[..whole].lines() {
            let Line { stage, verb, user, object_ref } = serde_json::from_str(line).unwrap();
            // A watch is told of twice.
            if user.username != self.user || stage != "ResponseComplete" {
                continue;
            }
            let ObjectRef { resource, subresource } = object_ref;
            let slash = if subresource.is_empty() { "" } else { "/" };
            *counted.entry(format!("{verb} {resource}{slash}{subresource}")).or_default() += 1;
        }
        counted
    }
}

/// All but renewals of the lease.
pub fn total(counted: &Counted) -> usize {
    counted.iter().filter(|(what, _)| !what.ends_with(" leases")).map(|(_, count)| count).sum()
}

/// Writes to releases and channels, and to their status.
pub fn writes(counted: &Counted) -> usize {
    let written = |what: &str| {
        let (verb, resource) = what.split_once(' ').unwrap();
        matches!(verb, "patch" | "create" | "update" | "delete")
            && ["releases", "channels"].contains(&resource.split('/').next().unwrap())
    };
    counted.iter().filter(|(what, _)| written(what)).map(|(_, count)| count).sum()
}

/// As words.
pub fn words(counted: &Counted) -> String {
    let words: Vec<String> = counted.iter().map(|(what, count)| format!("{count} {what}")).collect();
    words.join(", ")
}
