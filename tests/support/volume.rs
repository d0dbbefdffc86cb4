//! A volume of a pod, as the kubelet writes it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A folder as the kubelet keeps a `ConfigMap`'s volume: one dated folder that `..data` leads to, and a link through it for each
/// file that is seen.
pub(crate) struct AtomicWriter {
    folder: PathBuf,
}

impl AtomicWriter {
    /// One in a folder that is there.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Brings the volume to a new state, in the kubelet's steps: write a fresh dated folder; link names that are new, which dangle
    /// until the swap; turn `..data` by one rename; remove names that are gone; remove the old dated folder. The kubelet does not
    /// begin when nothing changed; this one does.
    pub(crate) fn write(&self, files: &BTreeMap<&str, &str>) {
        let data = self.folder.join("..data");
        let old = fs::read_link(&data).ok().map(|name| self.folder.join(name));
        let dated = self.dated();
        for (name, text) in files {
            let file = dated.join(name);
            fs::write(&file, text).expect("a write");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("a mode");
        }
        for name in files.keys().filter(|name| fs::read_link(self.folder.join(name)).is_err()) {
            symlink(Path::new("..data").join(name), self.folder.join(name)).expect("a link");
        }
        let fresh = self.folder.join("..data_tmp");
        symlink(dated.file_name().expect("it has a name"), &fresh).expect("a link");
        fs::rename(fresh, data).expect("a rename");
        let Some(old) = old else { return };
        for entry in fs::read_dir(&old).expect("a folder") {
            let name = entry.expect("an entry").file_name();
            if !files.keys().any(|kept| name == *kept) {
                fs::remove_file(self.folder.join(name)).expect("a removal");
            }
        }
        fs::remove_dir_all(old).expect("a removal");
    }

    /// A new folder named after the time and by chance, made for its owner alone and then opened to all, as a temporary one is.
    fn dated(&self) -> PathBuf {
        let now = jiff::Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S").to_string();
        let dated = self.folder.join(format!("{now}.{}", fastrand::u32(..)));
        fs::create_dir(&dated).expect("a folder");
        fs::set_permissions(&dated, fs::Permissions::from_mode(0o700)).expect("a mode");
        fs::set_permissions(&dated, fs::Permissions::from_mode(0o755)).expect("a mode");
        dated
    }
}
