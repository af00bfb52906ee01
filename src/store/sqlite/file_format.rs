//! What the bytes of a database file and of the WAL beside it say, read without SQLite: it would recover or change
//! them.
//!
//! See "Database File Format" in SQLite's documentation.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Where the header of a database has its numbers.
const PAGES_AT: usize = 28;
pub(super) const SCHEMA_COOKIE_AT: usize = 40;
pub(super) const MARK_AT: usize = 60;
const HEADER_BYTES: usize = 64;

/// Where frames of a WAL begin, and how much of each comes before its page.
pub(super) const WAL_HEADER_BYTES: u64 = 32;
pub(super) const FRAME_HEADER_BYTES: u64 = 24;

/// What a WAL begins with, by the order of the bytes that its checksums are made of.
const LITTLE_ENDIAN_WAL: u32 = 0x377f_0682;
const BIG_ENDIAN_WAL: u32 = 0x377f_0683;

/// How much of a WAL is read: four times what is left of one that a long reader made grow.
pub(super) const MOST_WAL_BYTES: u64 = 64 * 1024 * 1024;

/// What the header of a database file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// `user_version`.
    pub(super) mark: u32,
    /// Changes with the schema.
    pub(super) schema_cookie: u32,
    /// Its length.
    pub(super) n_pages: u32,
}

/// What a WAL says of its database, as far as it was committed.
#[derive(Default)]
pub(super) struct CommittedWal {
    /// In the last first page.
    pub(super) schema_cookie: Option<u32>,
    /// With the last commit.
    pub(super) n_pages: Option<u32>,
}

impl CommittedWal {
    /// Reads frames as SQLite's recovery does: up to the first one whose checksum is wrong, as one has that a power cut
    /// has left behind.
    pub(super) fn of(wal: &File) -> Self {
        let mut committed = Self::default();
        let mut reader = BufReader::with_capacity(256 * 1024, wal.take(MOST_WAL_BYTES));
        let mut head = [0; WAL_HEADER_BYTES as usize];
        if reader.read_exact(&mut head).is_err() {
            return committed;
        }
        let of_words = match number(&head, 0) {
            Some(LITTLE_ENDIAN_WAL) => u32::from_le_bytes,
            Some(BIG_ENDIAN_WAL) => u32::from_be_bytes,
            _ => return committed,
        };
        let Some(page_bytes @ 512..=65_536) = number(&head, 8) else { return committed };
        let mut sums = summed((0, 0), &head[..24], of_words);
        if sums_at(&head, 24) != Some(sums) {
            return committed;
        }
        let mut frame = [0; FRAME_HEADER_BYTES as usize];
        let mut page = vec![0; page_bytes as usize];
        let mut cookie = None;
        while reader.read_exact(&mut frame).is_ok() && reader.read_exact(&mut page).is_ok() {
            sums = summed(summed(sums, &frame[..8], of_words), &page, of_words);
            // Frames of a former round have other salts.
            if frame[8..16] != head[16..24] || sums_at(&frame, 16) != Some(sums) {
                break;
            }
            if number(&frame, 0) == Some(1) {
                cookie = number(&page, SCHEMA_COOKIE_AT);
            }
            // Other frames than those that commit have a 0 there.
            if let Some(n_pages @ 1..) = number(&frame, 4) {
                committed = Self { schema_cookie: cookie, n_pages: Some(n_pages) };
            }
        }
        committed
    }
}

/// Whether a WAL begins as SQLite lets it begin. If that can't be read, it counts as if it did.
pub(super) fn has_wal_head(path: &Path) -> bool {
    let mut head = [0; 4];
    match File::open(path).and_then(|wal| wal.read_exact_at(&mut head, 0)) {
        Ok(()) => matches!(u32::from_be_bytes(head), LITTLE_ENDIAN_WAL | BIG_ENDIAN_WAL),
        Err(err) => err.kind() != std::io::ErrorKind::UnexpectedEof,
    }
}

/// Where the first frame ends that was lost because somebody cut the WAL: SQLite goes on further back, and leaves a
/// hole before it. `None` if there is no hole, or the file system knows of none.
pub(super) fn end_of_lost_frame(path: &Path) -> Option<u64> {
    let wal = File::open(path).ok()?;
    let hole = rustix::fs::seek(&wal, rustix::fs::SeekFrom::Hole(0)).ok()?;
    // A file without one has a hole at its end.
    if hole >= wal.metadata().ok()?.len() {
        return None;
    }
    let mut head = [0; WAL_HEADER_BYTES as usize];
    wal.read_exact_at(&mut head, 0).ok()?;
    let n_bytes = FRAME_HEADER_BYTES + u64::from(number(&head, 8)?);
    let begin = WAL_HEADER_BYTES + hole.saturating_sub(WAL_HEADER_BYTES).div_ceil(n_bytes) * n_bytes;
    let mut frame = [0; FRAME_HEADER_BYTES as usize];
    wal.read_exact_at(&mut frame, begin).ok()?;
    // No page has the number 0.
    (number(&frame, 0) == Some(0)).then_some(begin + n_bytes)
}

/// SQLite's checksum over pairs of words, carried on.
fn summed(sums: (u32, u32), bytes: &[u8], of_words: fn([u8; 4]) -> u32) -> (u32, u32) {
    let (pairs, _) = bytes.as_chunks::<8>();
    pairs.iter().fold(sums, |(a, b), [p, q, r, s, t, u, v, w]| {
        let a = a.wrapping_add(of_words([*p, *q, *r, *s])).wrapping_add(b);
        (a, b.wrapping_add(of_words([*t, *u, *v, *w])).wrapping_add(a))
    })
}

fn sums_at(bytes: &[u8], at: usize) -> Option<(u32, u32)> {
    number(bytes, at).zip(number(bytes, at + 4))
}

/// The header of a database file; `None` if it can't be read.
pub(super) fn header(file: &File) -> Option<Header> {
    let mut bytes = [0; HEADER_BYTES];
    file.read_exact_at(&mut bytes, 0).ok()?;
    Some(Header {
        mark: number(&bytes, MARK_AT)?,
        schema_cookie: number(&bytes, SCHEMA_COOKIE_AT)?,
        n_pages: number(&bytes, PAGES_AT)?,
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
