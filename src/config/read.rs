//! Files, read with a limit and with sentences for what can go wrong.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Reads a text file of at most so many bytes. The error completes a sentence that begins with the file's name.
pub fn text(path: &Path, bytes_max: u64) -> Result<String, String> {
    let cannot = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => "cannot be read: permission denied".to_owned(),
        std::io::ErrorKind::NotADirectory => "does not exist: a part of its path is no directory".to_owned(),
        // The system's own words: the kind of what it has too few of is "uncategorized".
        _ => format!("cannot be read: {error}"),
    };
    // A pipe or a device would keep a reader waiting or never end: only regular files are opened.
    let about = std::fs::metadata(path).map_err(cannot)?;
    if about.is_dir() {
        return Err("is a directory, not a file".to_owned());
    }
    if !about.is_file() {
        return Err("is no regular file".to_owned());
    }
    // One byte more than there should be, so that the end is found without growing.
    let mut bytes = Vec::with_capacity(usize::try_from(about.len().min(bytes_max)).unwrap_or_default() + 1);
    File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("is larger than {bytes_max} bytes"));
    }
    String::from_utf8(bytes)
        .map_err(|error| format!("is not UTF-8: byte {} begins no character", error.utf8_error().valid_up_to()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_cannot_do_is_told_in_its_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("circle");
        std::os::unix::fs::symlink("circle", &path).unwrap();
        let problem = "cannot be read: Too many levels of symbolic links (os error 40)";
        assert_eq!(text(&path, 1), Err(problem.to_owned()));
        assert_eq!(text(&path.join("file"), 1), Err(problem.to_owned()));
        assert_eq!(text(&dir.path().join("file"), 1), Err("does not exist".to_owned()));
    }
}
