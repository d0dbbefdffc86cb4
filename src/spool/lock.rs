//! The lock that keeps a second process away from a spool's directory.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::disk::OpenError;

/// The file that is locked; it holds the process id of whoever locked it last.
const LOCK_FILE: &str = "outrigger.lock";

/// Events are about people: a directory that is made here is for its user alone.
const DIRECTORY_MODE: u32 = 0o700;

/// A directory's lock, until it is dropped.
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough while the process is being forked: the child has it open for a moment.
        let _ = self.0.unlock();
    }
}

/// Makes the directory when it is missing and locks it. The kernel ends the lock with the process, however that ends.
pub(super) fn lock(directory: &Path) -> Result<Lock, OpenError> {
    let unwritable = |error| OpenError::Unwritable { path: directory.to_owned(), error };
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory).map_err(unwritable)?;
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(directory.join(LOCK_FILE))
        .map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Without the number the message is poorer, and still right.
            let _ = file.read_to_string(&mut holder);
            let pid = holder.trim().parse().ok();
            return Err(OpenError::Locked { path: directory.to_owned(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(unwritable(error)),
    }
    // Written over, then cut: that needs no room on a full disk, and whoever reads meanwhile finds a number.
    let pid = format!("{}\n", std::process::id());
    file.write_all(pid.as_bytes()).and_then(|()| file.set_len(pid.len() as u64)).map_err(unwritable)?;
    Ok(Lock(file))
}
