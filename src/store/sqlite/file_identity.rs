//! Whether the database is still the one that was opened.
//!
//! The file can be removed, replaced or overwritten while a daemon runs, and so can the files that SQLite keeps beside
//! it. SQLite doesn't notice: it goes on with files that have no name any more, and mixes its cached pages with what it
//! finds.
//!
//! Names are compared by device and inode. A file that was overwritten keeps both, so its header is compared as well.
//! Each daemon puts a number of its own into it (`user_version`) at its start, and a higher one every second in which
//! it writes. So the header's number never falls: a copy of the file has a lower one than the file after the next
//! checkpoint, a copy from before the start has another one, and one by `db backup` has none. A copy by another SQLite
//! client has another schema cookie: in the file itself only commits change that, and those of others are noticed first
//! ([`FileIdentity::learn`]).

use std::fs::File;
use std::ops::RangeInclusive;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{SqliteConnection, SqlitePool};

use super::error::StoreError;
use super::file_format::{
    CommittedWal, FRAME_HEADER_BYTES, Header, MOST_WAL_BYTES, WAL_HEADER_BYTES, end_of_lost_frame,
    has_wal_head, header,
};
use super::{beside, device_and_inode};

/// How often a daemon that writes puts a new number into the header.
const MARK_EVERY: Duration = Duration::from_secs(1);

/// The file that a daemon has opened, and the files beside it.
#[derive(Debug)]
pub(super) struct FileIdentity {
    /// The file's own name, without symbolic links.
    path: PathBuf,
    /// The name in the configuration, if it is another one: a symbolic link may be switched.
    link: Option<PathBuf>,
    database: Option<(u64, u64)>,
    /// Names and identities of what is beside it.
    beside: [(PathBuf, Option<(u64, u64)>); 2],
    /// The descriptor that the lock is held by: closing another one would drop SQLite's locks.
    file: File,
    /// What the header may have where a daemon's number is.
    marks: Mutex<Marks>,
    /// The schema cookies that the file may have: from that at the start to the last one that SQLite has reported. Every
    /// change of the schema and every `VACUUM` counts it up.
    cookies: Mutex<RangeInclusive<u32>>,
    n_bytes_before: Mutex<u64>,
    n_wal_bytes_before: Mutex<u64>,
    /// Whether the WAL was found to be cut.
    is_cut: AtomicBool,
}

/// The numbers that a daemon puts into the header.
#[derive(Debug)]
struct Marks {
    /// The one of the daemon before. `None`: its WAL held a later one, and another process may just be moving that into
    /// the file.
    former: Option<u32>,
    first: u32,
    /// The one that was found in the file last; `None` until one of ours has reached it.
    found: Option<u32>,
    /// The one that was written last. It reaches the file with a checkpoint.
    written: u32,
    written_at: Instant,
}

impl Marks {
    /// The first number leaves room for one a second for thirty years.
    fn after(former: Option<u32>) -> Self {
        let first = fastrand::u32(1..=i32::MAX as u32 / 2);
        Self { former, first, found: None, written: first, written_at: Instant::now() }
    }

    /// Whether the file may have this number.
    fn takes(&mut self, mark: u32) -> bool {
        let is_ours = (self.found.unwrap_or(self.first)..=self.written).contains(&mark);
        if is_ours {
            self.found = Some(mark);
        }
        is_ours || self.found.is_none() && self.former.is_none_or(|former| former == mark)
    }
}

impl FileIdentity {
    /// Puts this daemon's first number into a database that `writer` has opened and whose lock is held by `file`.
    /// `configured` leads to `path`.
    pub(super) async fn mark(configured: &Path, path: &Path, file: File, writer: &SqlitePool) -> Self {
        let before = header(&file).unwrap_or(Header { mark: 0, schema_cookie: 0, n_pages: 0 });
        let newest = sqlx::query_scalar::<_, u32>("PRAGMA user_version").fetch_one(writer).await;
        let is_only_one = newest.is_ok_and(|newest| newest == before.mark);
        let mut marks = Marks::after(is_only_one.then_some(before.mark));
        let marked = async {
            sqlx::query(marking(marks.written)).execute(writer).await?;
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(writer).await
        };
        if let Err(err) = marked.await {
            // The disk may be full, for example. The daemon handles that when it writes.
            tracing::debug!(error = &err as &dyn std::error::Error, "the database could not be marked");
        }
        // If it has reached the file, no earlier number is accepted from now on.
        let _ = header(&file).is_some_and(|header| marks.takes(header.mark));
        let identity = Self {
            path: path.to_owned(),
            link: (configured != path).then(|| configured.to_owned()),
            database: device_and_inode(path),
            beside: ["-wal", "-shm"].map(|suffix| {
                let name = beside(path, suffix);
                let found = device_and_inode(&name);
                (name, found)
            }),
            n_bytes_before: Mutex::new(file.metadata().map_or(0, |file| file.len())),
            n_wal_bytes_before: Mutex::new(0),
            file,
            marks: Mutex::new(marks),
            is_cut: AtomicBool::new(false),
            cookies: Mutex::new(before.schema_cookie..=before.schema_cookie),
        };
        identity.learn(writer).await;
        identity
    }

    /// Within a transaction: puts a higher number into the header, once a second.
    pub(super) async fn mark_again(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let mark = {
            let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
            if marks.written_at.elapsed() < MARK_EVERY {
                return Ok(());
            }
            marks.written_at = Instant::now();
            marks.written = marks.written.saturating_add(1).min(i32::MAX as u32);
            marks.written
        };
        let marked = sqlx::query(marking(mark)).persistent(false).execute(connection).await;
        marked.map(|_| ()).map_err(StoreError::query("marking the database"))
    }

    /// After another process committed: reads what the file's header may hold from now on.
    pub(super) async fn learn(&self, writer: &SqlitePool) {
        if let Ok(cookie) = sqlx::query_scalar::<_, u32>("PRAGMA schema_version").fetch_one(writer).await {
            let mut cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
            *cookies = *cookies.start()..=cookie.max(*cookies.end());
        }
    }

    /// What happened to the database; `None` if it is still the same.
    pub(super) fn loss(&self) -> Option<StoreError> {
        let path = self.path.clone();
        if is_another(&path, self.database) {
            return Some(StoreError::Gone { path });
        }
        match self.has_known_header() {
            KnownHeader::Yes => {}
            KnownHeader::No => return Some(StoreError::Overwritten { path }),
            KnownHeader::Empty => return Some(StoreError::Emptied { path }),
        }
        if let Some((name, _)) =
            self.beside.iter().find(|(name, was)| was.is_some() && is_another(name, *was))
        {
            return Some(StoreError::JournalGone { path: name.clone() });
        }
        // Last, because the file itself is whole then.
        let link = self.link.as_ref().filter(|link| is_another(link, self.database))?;
        Some(StoreError::Switched { link: link.clone(), path })
    }

    /// What happened to the WAL, if another program has cut it: it became shorter, or has grown again without its head
    /// or with a hole, and SQLite has frames in it that it no longer holds.
    pub(super) async fn cut_wal(&self, writer: &SqlitePool) -> Option<StoreError> {
        let (path, _) = &self.beside[0];
        let before = || self.n_wal_bytes_before.lock().unwrap_or_else(PoisonError::into_inner);
        let now = std::fs::metadata(path).ok()?.len();
        let is_cut = if self.is_cut.load(Ordering::Relaxed) {
            true
        } else if now >= *before() && has_wal_head(path) && end_of_lost_frame(path).is_none() {
            false
        } else {
            lacks_frames(path, writer).await?
        };
        if !is_cut {
            *before() = now;
            return None;
        }
        self.is_cut.store(true, Ordering::Relaxed);
        Some(StoreError::JournalCut { path: path.clone() })
    }

    /// Whether the WAL may have been cut since the last check.
    pub(super) fn is_wal_shorter(&self) -> bool {
        let now = std::fs::metadata(&self.beside[0].0).map_or(0, |wal| wal.len());
        let mut before = self.n_wal_bytes_before.lock().unwrap_or_else(PoisonError::into_inner);
        let is_shorter = now < *before || self.is_cut.load(Ordering::Relaxed);
        *before = now.max(*before);
        is_shorter
    }

    fn has_known_header(&self) -> KnownHeader {
        let cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        // A failed read proves nothing: a disk may fail for a while without anything being overwritten.
        let Ok(file) = self.file.metadata() else { return KnownHeader::Yes };
        let n_bytes = file.len();
        let mut n_bytes_before = self.n_bytes_before.lock().unwrap_or_else(PoisonError::into_inner);
        // One that was emptied has no header to read.
        if n_bytes == 0 && *n_bytes_before > 0 {
            return KnownHeader::Empty;
        }
        let Some(found) = header(&self.file) else { return KnownHeader::Yes };
        // Only `VACUUM`, which raises the cookie, makes a file shorter.
        let is_shorter = n_bytes < *n_bytes_before && cookies.start() == cookies.end();
        if !is_shorter {
            *n_bytes_before = n_bytes;
        }
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        match !is_shorter && marks.takes(found.mark) && cookies.contains(&found.schema_cookie) {
            true => KnownHeader::Yes,
            false => KnownHeader::No,
        }
    }
}

/// Whether a database has the header of the one that was opened, as far as it can be read.
enum KnownHeader {
    Yes,
    No,
    /// It has no bytes any more.
    Empty,
}

/// Whether SQLite has frames in a WAL that the file no longer holds; `None` if that can't be said now.
///
/// Any client may checkpoint at any moment, after which SQLite itself cuts the file. So SQLite is asked before and after
/// the file is looked at, and all of that twice. The connection is kept meanwhile, so that this daemon writes nothing.
async fn lacks_frames(path: &Path, writer: &SqlitePool) -> Option<bool> {
    let mut writer = writer.acquire().await.ok()?;
    for _ in 0..2 {
        let (in_use, lacks_some) = match n_bytes_in_use(&mut writer).await {
            Ok(0) => return Some(false),
            Ok(n_bytes) => {
                let is_shorter = std::fs::metadata(path).ok()?.len() < n_bytes;
                let has_hole = || end_of_lost_frame(path).is_some_and(|end| end <= n_bytes);
                (n_bytes, is_shorter || !has_wal_head(path) || has_hole())
            }
            Err(err) => return finds_no_frames(&err).then_some(true),
        };
        if !lacks_some {
            return Some(false);
        }
        match n_bytes_in_use(&mut writer).await {
            Ok(n_bytes) if n_bytes == in_use => {}
            Ok(_) => return None,
            Err(err) => return finds_no_frames(&err).then_some(true),
        }
    }
    Some(true)
}

/// Whether an error says that SQLite no longer finds its frames in the WAL. Any other may pass.
fn finds_no_frames(err: &sqlx::Error) -> bool {
    err.as_database_error().and_then(|err| err.code()).is_some_and(|code| matches!(&*code, "11" | "26"))
}

/// How long a WAL is at least, by the frames of it that are in use: SQLite says how many, and writes nothing. It
/// forgets them before it cuts the file itself.
async fn n_bytes_in_use(writer: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    let n_page_bytes: u32 = sqlx::query_scalar("PRAGMA page_size").fetch_one(&mut *writer).await?;
    let (_, n_frames, _): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(NOOP)").fetch_one(writer).await?;
    Ok(match u64::try_from(n_frames) {
        Ok(n_frames @ 1..) => WAL_HEADER_BYTES + n_frames * (FRAME_HEADER_BYTES + u64::from(n_page_bytes)),
        _ => 0,
    })
}

/// The statement that puts a daemon's number into the header.
fn marking(mark: u32) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("PRAGMA user_version = {mark}"))
}

/// Whether the file of this name is another one than before, or gone. If that can't be checked, it counts as the same.
fn is_another(name: &Path, was: Option<(u64, u64)>) -> bool {
    match std::fs::metadata(name) {
        Ok(file) => Some((file.dev(), file.ino())) != was,
        Err(err) => err.kind() == std::io::ErrorKind::NotFound && was.is_some(),
    }
}

/// Whether the WAL beside a database was written for another one: a backup was put in place, and the WAL of what it
/// replaced was left. SQLite would put its pages into the backup.
pub(super) fn has_stale_wal(path: &Path) -> bool {
    // A daemon may have restarted its WAL between two looks.
    looks_stale(path) && looks_stale(path)
}

fn looks_stale(path: &Path) -> bool {
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let Ok(wal) = File::open(beside(path, "-wal")) else { return false };
    // One that is too long to be read through is not judged.
    let n_bytes = wal.metadata().map_or(0, |wal| wal.len());
    if !(WAL_HEADER_BYTES + FRAME_HEADER_BYTES..=MOST_WAL_BYTES).contains(&n_bytes) {
        return false;
    }
    let Ok(database) = File::open(path) else { return false };
    let mut modes = [0; 2];
    let (Ok(()), Some(of_file)) = (database.read_exact_at(&mut modes, 18), header(&database)) else {
        return false;
    };
    // Copies by `VACUUM INTO`, as `db backup` makes them, are not in WAL mode; a database that has a WAL is. In other
    // copies SQLite begins to count schemas again, and without its first page a WAL has a database as long as it was.
    let committed = CommittedWal::of(&wal);
    match (modes, committed.schema_cookie, committed.n_pages) {
        // Nothing in it was committed, and SQLite will make nothing of it.
        (_, _, None) => false,
        ([1, 1], ..) => true,
        (_, Some(cookie), _) => of_file.schema_cookie > cookie || (of_file.schema_cookie == 1 && cookie > 1),
        (_, None, Some(n_pages)) => of_file.n_pages != n_pages,
    }
}

/// Whether the file is mounted by itself, as a container's single-file volume is. SQLite's WAL would then be in another
/// folder than the WAL of a process that uses the file by its other name.
pub(super) fn is_mounted_alone(path: &Path) -> bool {
    let Ok(path) = std::fs::canonicalize(path) else { return false };
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { return false };
    // The fifth field is the mount's place, with octal escapes.
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    path.to_str().is_some_and(|path| places.map(unescaped).any(|place| place == path))
}

fn unescaped(place: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(place.to_owned(), |place, (escape, character)| place.replace(escape, character))
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions as _;
    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};

    use super::super::file_format::{MARK_AT, SCHEMA_COOKIE_AT};
    use super::*;

    fn identity(configured: &Path, path: &Path, file: File) -> FileIdentity {
        FileIdentity {
            path: path.to_owned(),
            link: (configured != path).then(|| configured.to_owned()),
            database: device_and_inode(path),
            beside: ["-wal", "-shm"]
                .map(|suffix| (beside(path, suffix), device_and_inode(&beside(path, suffix)))),
            file,
            marks: Mutex::new(Marks {
                former: Some(7),
                first: 8,
                found: None,
                written: 10,
                written_at: Instant::now(),
            }),
            is_cut: AtomicBool::new(false),
            cookies: Mutex::new(3..=3),
            n_bytes_before: Mutex::new(4096),
            n_wal_bytes_before: Mutex::new(0),
        }
    }

    fn page(mark: u32) -> Vec<u8> {
        let mut page = vec![0; 4096];
        page[MARK_AT..MARK_AT + 4].copy_from_slice(&mark.to_be_bytes());
        page[SCHEMA_COOKIE_AT..SCHEMA_COOKIE_AT + 4].copy_from_slice(&3_u32.to_be_bytes());
        page
    }

    #[test]
    fn what_is_replaced_removed_or_overwritten_is_lost_and_what_can_not_be_read_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("watch.db");
        let wal = beside(&path, "-wal");
        std::fs::write(&path, page(7)).unwrap();
        std::fs::write(&wal, "frames").unwrap();
        let open = || File::open(&path).unwrap();
        let here = identity(&path, &path, open());
        assert!(here.loss().is_none());

        // Reading a folder fails as reading from a disk that is failing does.
        let unreadable = identity(&path, &path, File::open(folder.path()).unwrap());
        assert!(unreadable.loss().is_none());

        // What the daemon wrote last may be in it, and nothing that it has written before what was found once.
        for (mark, is_known) in [(7, true), (11, false), (9, true), (8, false), (7, false), (10, true)] {
            std::fs::write(&path, page(mark)).unwrap();
            let loss = here.loss();
            assert_eq!(loss.is_none(), is_known, "{mark}: {loss:?}");
            assert!(matches!(loss, None | Some(StoreError::Overwritten { .. })));
        }
        std::fs::write(&path, "").unwrap();
        assert!(matches!(here.loss(), Some(StoreError::Emptied { .. })));
        std::fs::write(&path, page(10)).unwrap();
        assert!(here.loss().is_none());
        std::fs::remove_file(&wal).unwrap();
        assert!(matches!(here.loss(), Some(StoreError::JournalGone { .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(here.loss(), Some(StoreError::Gone { .. })));
    }

    #[test]
    fn a_symbolic_link_that_leads_elsewhere_is_a_loss() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other, link] = ["watch.db", "other.db", "link.db"].map(|name| folder.path().join(name));
        for file in [&path, &other] {
            std::fs::write(file, page(7)).unwrap();
        }
        let lead_to = |file: &Path| {
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(file, &link).unwrap();
        };
        lead_to(&path);
        let here = identity(&link, &path, File::open(&path).unwrap());
        assert!(here.loss().is_none());
        lead_to(&other);
        assert!(
            matches!(here.loss(), Some(StoreError::Switched { link: by, path: from }) if by == link && from == path)
        );
        std::fs::write(&path, page(11)).unwrap();
        assert!(matches!(here.loss(), Some(StoreError::Overwritten { .. })), "nothing may be written to it");
        std::fs::write(&path, page(7)).unwrap();
        lead_to(&path);
        assert!(here.loss().is_none());
        std::fs::rename(&path, folder.path().join("moved.db")).unwrap();
        assert!(matches!(here.loss(), Some(StoreError::Gone { .. })));
    }

    #[tokio::test]
    async fn a_number_that_a_killed_daemon_left_in_its_wal_is_no_loss_until_ours_has_arrived() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("watch.db");
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(Duration::from_millis(10));
        // It never closes, so its numbers stay in the WAL.
        let mut killed = options.connect().await.unwrap();
        let mut reader = options.connect().await.unwrap();
        for statement in ["CREATE TABLE t (x)", "PRAGMA user_version = 5", "PRAGMA wal_checkpoint(TRUNCATE)"]
        {
            sqlx::query(statement).execute(&mut killed).await.unwrap();
        }
        sqlx::query("PRAGMA user_version = 6").execute(&mut killed).await.unwrap();
        // Keeps ours from the file.
        sqlx::raw_sql("BEGIN; SELECT * FROM t").execute(&mut reader).await.unwrap();
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        let identity = FileIdentity::mark(&path, &path, File::open(&path).unwrap(), &writer).await;
        let file = File::options().write(true).open(&path).unwrap();
        let overwrite = |mark: u32| file.write_all_at(&mark.to_be_bytes(), MARK_AT as u64).unwrap();
        assert!(identity.loss().is_none());
        overwrite(6);
        assert!(identity.loss().is_none());

        sqlx::query("ROLLBACK").execute(&mut reader).await.unwrap();
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&writer).await.unwrap();
        assert!(identity.loss().is_none());
        overwrite(6);
        assert!(matches!(identity.loss(), Some(StoreError::Overwritten { .. })));
    }
}
