//! A lock that one process at a time has.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// A locked file: no other process locks it before this is dropped, or this process ends.
#[derive(Debug)]
pub struct FileLock(File);

impl FileLock {
    /// Locks the file, which is created if it is missing. `None`: another process has it.
    ///
    /// # Errors
    ///
    /// The file cannot be created or locked.
    pub fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let file = File::options().create(true).append(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for FileLock {
    /// Unlocks the file. Closing it would not be enough: a child process that another thread is starting has a copy of
    /// it until it executes its program.
    fn drop(&mut self) {
        // What cannot be unlocked is unlocked when its last copy is closed.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_file_does_not_hold_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let lock = FileLock::try_take(&path).unwrap().unwrap();
        let copy = lock.0.try_clone().unwrap();
        assert!(FileLock::try_take(&path).unwrap().is_none());
        drop(lock);
        assert!(FileLock::try_take(&path).unwrap().is_some());
        drop(copy);
    }
}
