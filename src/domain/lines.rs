//! On which line of a CSV file a record begins, and how long a record may be.

use std::io::{ErrorKind, Read, Result};

/// Finds the line that a record begins on. The reader's own count is one behind after CR LF, because it sees the
/// line feed only with the next record.
#[derive(Debug)]
pub struct Lines<'a> {
    bytes: &'a [u8],
    counted_to: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    /// Counts from the beginning of this text.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, counted_to: 0, line: 1 }
    }

    /// The line of the first record at or after this offset; offsets must not go back.
    pub fn at(&mut self, offset: u64) -> u64 {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        let rest = self.bytes.get(offset..).unwrap_or_default();
        let begins_at = offset + rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let passed = self.bytes.get(self.counted_to..begins_at).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.counted_to = begins_at;
        self.line
    }
}

/// Longest row, its line breaks within quotation marks included. A file in which a quotation mark is never closed, or
/// that is no table at all, is one row, and would be in memory several times.
pub const MAX_ROW_BYTES: usize = 256 * 1024;

/// What a reader may read ahead of the row that it gives.
const AHEAD: usize = 64 * 1024;

/// A file's bytes, of which a reader gets no more at a time than a row may have.
pub struct RowBytes<'a> {
    rest: &'a [u8],
    n_left: usize,
}

impl<'a> RowBytes<'a> {
    /// For the first row; before each other one [`begin_row`](Self::begin_row) is called.
    pub fn of(bytes: &'a [u8]) -> Self {
        let mut rows = Self { rest: bytes, n_left: 0 };
        rows.begin_row();
        rows
    }

    /// The next row is read from now on.
    pub fn begin_row(&mut self) {
        self.n_left = MAX_ROW_BYTES + AHEAD;
    }
}

impl Read for RowBytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.n_left == 0 && !self.rest.is_empty() {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let n_wanted = buffer.len().min(self.n_left).min(AHEAD);
        let n_bytes = self.rest.read(buffer.get_mut(..n_wanted).unwrap_or_default())?;
        self.n_left -= n_bytes;
        Ok(n_bytes)
    }
}

/// Whether a row is longer than [`MAX_ROW_BYTES`].
pub fn is_endless(err: &csv::Error) -> bool {
    matches!(err.kind(), csv::ErrorKind::Io(err) if err.kind() == ErrorKind::FileTooLarge)
}
