//! What something costs: CPU time of processes, and requests to the API server.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
};

use serde::Deserialize;

/// Ticks per second of `/proc`, on every Linux.
const HERTZ: f64 = 100.0;

/// The numbers of `/proc/PID/stat` behind the name, from field 3 on.
fn stat(id: u32) -> Option<(String, Vec<u64>)> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (name, rest) = text.split_once('(')?.1.rsplit_once(") ")?;
    // The state is a letter.
    Some((name.to_owned(), rest.split(' ').map(|field| field.trim().parse().unwrap_or(0)).collect()))
}

/// Every process with its parent.
fn processes() -> Vec<(u32, u32)> {
    let folders =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    folders.filter_map(|id| Some((id, u32::try_from(stat(id)?.1[1]).ok()?))).collect()
}

/// CPU seconds, user and system, of a process, of what it started, and of what of that has ended.
pub fn cpu(id: u32) -> f64 {
    let all = processes();
    let (mut family, mut next) = (vec![id], 0);
    while let Some(&parent) = family.get(next) {
        family.extend(all.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        next += 1;
    }
    let ticks = |id: &u32| stat(*id).map_or(0, |(_, fields)| fields[11..15].iter().sum());
    family.iter().map(ticks).sum::<u64>() as f64 / HERTZ
}

/// The child of this process that runs a program.
pub fn child(program: &str) -> u32 {
    let name = &program[..program.len().min(15)];
    let mine = processes().into_iter().filter(|(_, parent)| *parent == std::process::id());
    let mut found = mine.map(|(id, _)| id).filter(|id| stat(*id).is_some_and(|(comm, _)| comm == name));
    found.next().unwrap_or_else(|| panic!("{program} does not run"))
}

/// Resident memory in MiB of a process: now, and at its highest.
pub fn memory(id: u32) -> (f64, f64) {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    };
    (field("VmRSS:"), field("VmHWM:"))
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
