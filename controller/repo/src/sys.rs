//! Process-wide settings of libgit2, made once before anything else uses it.
//!
//! They are C globals without locks, which is why this is the only module with `unsafe` code.
#![expect(unsafe_code, reason = "libgit2's global options can be set no other way")]

use std::{path::Path, sync::Once};

use git2::{ConfigLevel, opts};

/// How long one connection attempt may take.
const CONNECT_MILLISECONDS: i32 = 10_000;
/// How long one read or write may take. It bounds a silent server, not a slow one: the total deadline does that.
const IO_MILLISECONDS: i32 = 30_000;
/// Pack files held open at once, far below the usual limit of 1,024 descriptors.
const OPEN_PACKS: usize = 200;
/// A folder that cannot exist, so that no configuration of the machine is ever found in it.
const NOWHERE: &str = "/dev/null/nowhere";

/// Prepares libgit2 for this process. Call it first thing in `main`, before any thread is started: it sets environment
/// variables (the place of the system's certificates) and C globals. Later calls do nothing.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: called before other threads use libgit2; `Once` keeps two first calls apart.
        let done = unsafe { set_globals() };
        if let Err(error) = done {
            tracing::error!(%error, "libgit2 refused its settings");
        }
        opts::strict_hash_verification(true);
        opts::strict_object_creation(true);
        // A walk over a long history otherwise keeps every commit in memory.
        opts::enable_caching(false);
    });
}

unsafe fn set_globals() -> Result<(), git2::Error> {
    // SAFETY: the caller guarantees that no other thread is inside libgit2.
    unsafe {
        // One of the two alone breaks every http and https call.
        opts::set_server_connect_timeout_in_milliseconds(CONNECT_MILLISECONDS)?;
        opts::set_server_timeout_in_milliseconds(IO_MILLISECONDS)?;
        for level in [ConfigLevel::ProgramData, ConfigLevel::System, ConfigLevel::XDG, ConfigLevel::Global] {
            opts::set_search_path(level, NOWHERE)?;
        }
        // A mirror on a kept volume may belong to the user id of an earlier pod.
        opts::set_verify_owner_validation(false)?;
        opts::set_mwindow_file_limit(OPEN_PACKS)?;
    }
    Ok(())
}

/// Trusts the certificates of a PEM file besides the system's, for the rest of this process.
pub(crate) fn trust(file: &Path) -> Result<(), git2::Error> {
    // SAFETY: only a worker process calls this, from the one thread that uses libgit2, between operations.
    unsafe { opts::set_ssl_cert_file(file) }
}
