//! Files that arguments name; `-` is standard input.

use std::fs::File;
use std::io::{Read, Result};
use std::path::Path;

/// The name of a file in a sentence.
pub(super) fn name_of(file: &Path) -> String {
    if is_standard_input(file) { "standard input".to_owned() } else { file.display().to_string() }
}

/// The bytes of a file, cut after `max_bytes`: a caller that asks for one byte more than it accepts recognises a file
/// that is too long.
pub(super) fn read(file: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    if is_standard_input(file) {
        read_from(std::io::stdin().lock(), max_bytes)
    } else {
        read_from(File::open(file)?, max_bytes)
    }
}

fn is_standard_input(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn read_from(input: impl Read, max_bytes: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::read_from;

    #[test]
    fn no_more_is_read_than_asked_for() {
        assert_eq!(read_from(&b"12345"[..], 6).unwrap(), b"12345");
        assert_eq!(read_from(std::io::repeat(b'x'), 6).unwrap(), b"xxxxxx");
    }
}
