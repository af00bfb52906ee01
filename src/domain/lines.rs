//! On which line of a CSV file a record begins.

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
