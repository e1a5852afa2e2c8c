//! A file that is damaged: it is set aside, and a new one begins. What a phone is answered does not depend on what was in it.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{dialect::Connection, error::FleetError, place::Place};

/// What follows the file's name in the name of one that was set aside; the time follows that.
const ASIDE: &str = ".damaged-";
/// What follows the file's name in the name of an empty file that says: it was found damaged while it was in use.
const MARK: &str = ".malformed";
/// What SQLite keeps beside a file. The log must never meet a new file: it would be taken for that one's own.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Has the next start look at the whole file: it was found damaged where no start looks otherwise.
pub(crate) fn mark(place: &Place) {
    let Place::File(path) = place else { return };
    tracing::error!(
        reason = "FleetStoreDamaged",
        file = %path.display(),
        "the fleet store is damaged: reports are answered 503 until a restart, which sets it aside and begins a new one"
    );
    if let Err(error) = fs::write(with(path, MARK), "") {
        tracing::warn!(%error, "the next start will not know; move the file away before it");
    }
}

/// Whether the file was found damaged while it was in use. By now a good one may stand in its place.
pub(crate) fn is_marked(place: &Place) -> bool {
    matches!(place, Place::File(path) if with(path, MARK).exists())
}

/// The file turned out to be good.
pub(crate) fn unmark(place: &Place) {
    if let Place::File(path) = place
        && let Err(error) = fs::remove_file(with(path, MARK))
    {
        tracing::warn!(%error, "the next start will look at the whole fleet store again");
    }
}

/// Reads the whole file.
pub(crate) async fn check(connection: &mut Connection, place: &Place) -> Result<(), FleetError> {
    let opening = |error: sqlx::Error| FleetError::opening(place, &error);
    let rows = connection.fetch("PRAGMA integrity_check(1)", |_| {}).await.map_err(opening)?;
    let said: String = rows.first().map_or(Ok(String::new()), |row| row.try_get(0)).map_err(opening)?;
    if said == "ok" { Ok(()) } else { Err(FleetError::Corrupt { place: place.to_string(), reason: said }) }
}

/// Sets a damaged file aside, so that a new one can be made in its place. Nobody may have it open. A store that is not a
/// file, and a file that cannot be moved, stay damaged.
pub(crate) fn set_aside(place: &Place, damage: FleetError, now: i64) -> Result<(), FleetError> {
    let (Place::File(path), FleetError::Corrupt { reason, .. }) = (place, &damage) else {
        return Err(damage);
    };
    let aside = match free_name(path, now).and_then(|aside| rename(path, &aside).map(|()| aside)) {
        Ok(aside) => aside,
        Err(error) => {
            tracing::error!(%error, file = %path.display(), "the damaged fleet store cannot be set aside");
            return Err(damage);
        }
    };
    tracing::error!(
        reason = "FleetStoreDamaged",
        file = %path.display(),
        kept = %aside.display(),
        damage = reason,
        "the fleet store was damaged and is set aside; a new one begins: devices are answered, counts begin again, and \
         channels that single devices were put on are forgotten. docs/operating.md says how to recover from the copy"
    );
    Ok(())
}

/// How many files were set aside and are still there.
pub(crate) fn kept(place: &Place) -> u64 {
    let Place::File(path) = place else { return 0 };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return 0 };
    let prefix = format!("{}{ASIDE}", name.to_string_lossy());
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&prefix) && !BESIDE.iter().any(|end| name.ends_with(end))).count()
        as u64
}

/// A name for it that nothing has: a machine without a battery can find two damaged ones at one time of day.
fn free_name(path: &Path, now: i64) -> io::Result<PathBuf> {
    let at = Timestamp::from_second(now).unwrap_or_default().strftime("%Y%m%dT%H%M%SZ");
    let names = (1..1_000).map(|n| if n == 1 { format!("{ASIDE}{at}") } else { format!("{ASIDE}{at}-{n}") });
    let mut free = names.map(|suffix| with(path, &suffix)).filter(|name| !name.exists());
    free.next().ok_or_else(|| io::Error::other("too many were set aside"))
}

/// The file last: whatever interrupts this, a log is never left beside a file that it does not belong to.
fn rename(path: &Path, aside: &Path) -> io::Result<()> {
    for suffix in BESIDE {
        let beside = with(path, suffix);
        if beside.exists() {
            fs::rename(beside, with(aside, suffix))?;
        }
    }
    fs::rename(path, aside)?;
    match fs::remove_file(with(path, MARK)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.db");
        for name in ["fleet.db", "fleet.db-wal", "fleet.db-shm", "fleet.db.malformed"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let place = Place::File(path.clone());
        let damage = || FleetError::Corrupt { place: place.to_string(), reason: "x".into() };
        set_aside(&place, damage(), 1_800_000_000).unwrap();
        let mut names: Vec<String> =
            fs::read_dir(&folder).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let aside = "fleet.db.damaged-20270115T080000Z";
        assert_eq!(names, [aside.to_owned(), format!("{aside}-shm"), format!("{aside}-wal")]);
        assert_eq!(fs::read_to_string(folder.path().join(format!("{aside}-wal"))).unwrap(), "fleet.db-wal");
        assert_eq!((kept(&place), is_marked(&place)), (1, false));
        // Nothing there to set aside: the damage stays what it was.
        assert!(matches!(set_aside(&place, damage(), 1_800_000_000), Err(FleetError::Corrupt { .. })));
    }
}
