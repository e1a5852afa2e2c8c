//! What processes use: CPU time and memory.

use std::fs;

/// Ticks per second of `/proc`, on every Linux.
const HERTZ: f64 = 100.0;

/// The numbers of `/proc/PID/stat` behind the name, from field 3 on.
pub fn stat(id: u32) -> Option<(String, Vec<u64>)> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (name, rest) = text.split_once('(')?.1.rsplit_once(") ")?;
    // The state is a letter.
    Some((name.to_owned(), rest.split(' ').map(|field| field.trim().parse().unwrap_or(0)).collect()))
}

/// Every process with its parent.
pub fn processes() -> Vec<(u32, u32)> {
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

/// Resident memory in MiB of a process: now, and at its highest.
pub fn memory(id: u32) -> (f64, f64) {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    };
    (field("VmRSS:"), field("VmHWM:"))
}
