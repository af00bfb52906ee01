//! What only a database file has: its size, the room left for it, a copy.

use std::fs::{DirEntry, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};

use super::error::StoreError;
use super::file_format::MARK_AT;
use super::read_only::{FileState, has_moved};
use super::{Store, beside};
use crate::clock;
use crate::store::Footprint;

impl Store {
    /// Writes a consistent copy of the database to a file that does not exist yet. Writers go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Copy`] if the copy can't be written; there is none then.
    ///
    /// [`StoreError::Moved`] if a file that this user may only read was written meanwhile.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        match copy_whole(&self.reports, self.path(), to, self.read_at.as_ref()).await {
            // What was read did not fit together, and looks damaged.
            Err(StoreError::Query { .. }) if has_moved(self.path(), self.read_at.as_ref()) => {
                Err(StoreError::Moved { path: self.path().to_owned() })
            }
            copied => copied,
        }
    }

    /// A hanging disk must not stop other tasks, so this runs on a thread of its own.
    pub async fn footprints(&self) -> Vec<Footprint> {
        let path = self.path().to_owned();
        tokio::task::spawn_blocking(move || read(path)).await.ok().flatten().unwrap_or_default()
    }
}

/// A copy that is being written. Under its final name a file is always a whole copy; this one goes when it is dropped.
struct Partial(PathBuf);

/// Before the number of the process that writes it.
const PARTIAL: &str = ".partial-";

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_file(beside(&self.0, "-journal"));
    }
}

/// Copies the database `from`, which this executor has open, to a file that does not exist yet. It belongs to the owner
/// of the database.
///
/// # Errors
/// [`StoreError::Copy`] if the copy can't be written, and [`StoreError::Moved`] if the file is read as one that does not
/// change, and is no longer as it was at `read_at`. There is no copy then.
pub(super) async fn copy_whole<'c>(
    executor: impl sqlx::SqliteExecutor<'c>,
    from: &Path,
    to: &Path,
    read_at: Option<&FileState>,
) -> Result<(), StoreError> {
    let failed = |source| StoreError::Copy { path: to.to_owned(), source };
    // SQLite's errors don't say why a file can't be created.
    let (partial, made) = begin_copy(to).map_err(failed)?;
    give_to_owner_of(from, &made);
    // Absolute, because SQLite takes a name such as `file:x` for an address.
    let name = std::path::absolute(&partial.0).map_err(failed)?;
    let not_utf8 = || failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, "its name is not UTF-8"));
    sqlx::query("VACUUM INTO ?1")
        .bind(name.to_str().ok_or_else(not_utf8)?.to_owned())
        .execute(executor)
        .await
        .map_err(|source| match source.as_database_error().and_then(|err| err.code()).as_deref() {
            Some("13") => failed(std::io::ErrorKind::StorageFull.into()),
            _ => StoreError::Query { operation: "copying the database", source },
        })?;
    if has_moved(from, read_at) {
        return Err(StoreError::Moved { path: from.to_owned() });
    }
    let name = || {
        let copy = OpenOptions::new().write(true).open(&partial.0)?;
        // No daemon has opened the copy: see `file_identity`.
        copy.write_all_at(&[0; 4], MARK_AT as u64)?;
        copy.sync_all()?;
        name_without_replacing(&partial.0, to)?;
        flush_folder_of(to)
    };
    name().map_err(failed)
}

/// An empty file to write a copy to. What was left by processes that were killed while they wrote one of this name
/// goes first.
fn begin_copy(to: &Path) -> std::io::Result<(Partial, File)> {
    let begins = format!("{}{PARTIAL}", to.file_name().unwrap_or_default().to_string_lossy());
    for file in std::fs::read_dir(folder_of(to)).into_iter().flatten().flatten() {
        let name = file.file_name();
        if name.to_string_lossy().strip_prefix(&begins).is_some_and(|process| is_left(&file, process)) {
            drop(Partial(file.path()));
        }
    }
    let path = beside(to, &format!("{PARTIAL}{}", std::process::id()));
    // In a container the process that was killed a moment ago may have had the same number.
    let mut names = std::iter::once(path.clone()).chain((1..100).map(|n| beside(&path, &format!("-{n}"))));
    loop {
        let path = names.next().ok_or(std::io::ErrorKind::AlreadyExists)?;
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(err) if err.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => return Ok((Partial(path), made?)),
        }
    }
}

/// How long nothing may have been written to a copy before it counts as left. A process of this number may run on
/// another machine, or in another container.
const LEFT_AFTER: Duration = Duration::from_secs(60);

/// Whether a copy was left by the process that is named in it. A lock would say so too, but on network file systems it
/// would be in SQLite's way.
fn is_left(copy: &DirEntry, process: &str) -> bool {
    let number = process.split('-').next().and_then(|number| number.parse().ok());
    let Some(process) = number.and_then(Pid::from_raw) else { return false };
    let is_alive = process != getpid() && test_kill_process(process) != Err(Errno::SRCH);
    let Ok(file) = copy.metadata() else { return false };
    let age = file.modified().ok().and_then(|at| clock::wall_system_time().duration_since(at).ok());
    file.is_file() && !is_alive && age.is_some_and(|age| age >= LEFT_AFTER)
}

/// The copies of this name with a number, the oldest first; and what is left of copies that were not finished.
pub(super) fn copies(name: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let begins = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (mut whole, mut partial) = (Vec::new(), Vec::new());
    for file in std::fs::read_dir(folder_of(name)).into_iter().flatten().flatten() {
        let file_name = file.file_name();
        let file_name = file_name.to_string_lossy();
        match file_name.strip_prefix(&begins) {
            Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => whole.push(file.path()),
            Some(rest) if rest.contains(PARTIAL) => partial.push(file.path()),
            _ => {}
        }
    }
    whole.sort();
    (whole, partial)
}

fn read(path: PathBuf) -> Option<Vec<Footprint>> {
    let disk = rustix::fs::statvfs(folder_of(&path)).ok()?;
    let wal_bytes = std::fs::metadata(beside(&path, "-wal")).map_or(0, |file| file.len());
    let of = |name, help, bytes| Footprint { name, help, bytes };
    Some(vec![
        of(
            "database_bytes",
            "Size of the database file with its WAL",
            std::fs::metadata(&path).ok()?.len() + wal_bytes,
        ),
        of("database_wal_bytes", "Size of the WAL alone", wal_bytes),
        of(
            "disk_free_bytes",
            "What may still be written where the database is",
            disk.f_bavail.saturating_mul(disk.f_frsize),
        ),
    ])
}

/// Gives a file its name in one step, unless another has appeared under it meanwhile.
pub(super) fn name_without_replacing(from: &Path, to: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems can't. A process that dies before the first name is removed leaves a copy with two.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => std::fs::hard_link(from, to),
        named => Ok(named?),
    }
}

/// Flushes a file's folder: before that, a power cut may lose the file's name.
pub(super) fn flush_folder_of(file: &Path) -> std::io::Result<()> {
    File::open(folder_of(file))?.sync_all()
}

/// The folder of a file.
pub(super) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Gives a file that root has created to the owner of this other file or folder, so that the daemon can open it. If
/// that fails, root keeps it.
pub(super) fn give_to_owner_of(other: &Path, made: &File) {
    if rustix::process::geteuid().is_root()
        && let Ok(other) = std::fs::metadata(other)
    {
        let _ = std::os::unix::fs::fchown(made, Some(other.uid()), Some(other.gid()));
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::super::read_only::file_state;
    use super::*;

    #[tokio::test]
    async fn a_copy_of_what_was_written_meanwhile_gets_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("watch.db"), folder.path().join("copy.db"));
        let url = format!("sqlite://{}?mode=rwc", path.display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        sqlx::query("CREATE TABLE t (x INTEGER)").execute(&mut connection).await.unwrap();
        let read_at = file_state(&path);
        copy_whole(&mut connection, &path, &copy, Some(&read_at)).await.unwrap();
        std::fs::remove_file(&copy).unwrap();
        sqlx::query("CREATE TABLE another (x INTEGER)").execute(&mut connection).await.unwrap();
        let refused = copy_whole(&mut connection, &path, &copy, Some(&read_at)).await;
        assert!(matches!(refused, Err(StoreError::Moved { .. })), "{refused:?}");
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(left, ["watch.db"]);
    }
}
