//! Reads files that settings and arguments name. Even from a pipe or a device it reads within bounds of memory and
//! time.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

/// How long to wait for the next bytes of a pipe.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Longest `ca_file` that is read: twenty times all the roots that a system trusts.
pub const MAX_CA_BYTES: u64 = 4 * 1_024 * 1_024;

/// The bytes of a file.
///
/// # Errors
/// [`ErrorKind::FileTooLarge`] if it has more than `max_bytes`, [`ErrorKind::TimedOut`] if nothing comes, and any other
/// error of reading.
pub fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    // Opening a pipe would wait for its writer.
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    let mut bytes = Vec::new();
    Waiting(file).take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(too_long(max_bytes));
    }
    Ok(bytes)
}

/// As [`read`], of a file that is text.
///
/// # Errors
/// As [`read`]; [`ErrorKind::InvalidData`] if it is not UTF-8.
pub fn read_text(path: &Path, max_bytes: u64) -> Result<String> {
    let text = String::from_utf8(read(path, max_bytes)?);
    text.map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8 text"))
}

fn too_long(max_bytes: u64) -> Error {
    Error::new(ErrorKind::FileTooLarge, format!("it is longer than {} KiB", max_bytes >> 10))
}

/// A file that was opened without blocking. Reading waits for bytes, but no longer than [`PATIENCE`].
struct Waiting(File);

impl Read for Waiting {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(err) if err.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            if poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&PATIENCE))? == 0 {
                return Err(Error::new(ErrorKind::TimedOut, "nothing has come from it for 10 s"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_not_read_and_a_pipe_without_a_writer_is_empty() {
        let endless = read(Path::new("/dev/zero"), 1_024).unwrap_err();
        assert_eq!(
            (endless.kind(), &*endless.to_string()),
            (ErrorKind::FileTooLarge, "it is longer than 1 KiB")
        );
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .unwrap();
        assert_eq!(read(&pipe, 1_024).unwrap(), b"");
        let file = folder.path().join("file");
        std::fs::write(&file, [b'x'; 1_024]).unwrap();
        assert_eq!(read(&file, 1_024).unwrap().len(), 1_024);
        assert_eq!(read(&file, 1_023).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert!(read_text(folder.path(), 1_024).is_err());
    }
}
