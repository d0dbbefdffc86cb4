//! The files of a spool: anything in the place of its database, and of its log.
//!
//! A case that begins with `edit` changes the files of a sound spool, a line each: `db` or `wal`, an offset, and hexadecimal
//! digits; or `cut`, one of them, and a length. `edit running` takes the files of one that runs. Any other case is the database.

use super::{Target, folder, spool};

pub const TARGET: Target = Target { name: "spool_file", run, seeds };

/// Lines of one case.
const LINES_MAX: usize = 64;

pub fn run(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n').take(LINES_MAX);
    let sound = match lines.next() {
        Some(b"edit") => &spool::SOUND[0],
        Some(b"edit running") => &spool::SOUND[1],
        _ => {
            let folder = folder(&[("spool.db", data)]);
            return spool::hold(folder.path(), false);
        }
    };
    let (mut database, mut log) = (sound.database.clone(), sound.log.clone());
    for line in lines.filter_map(|line| std::str::from_utf8(line).ok()) {
        let mut words = line.split(' ');
        let (cut, name) = match words.next() {
            Some("cut") => (true, words.next()),
            name => (false, name),
        };
        let file = match name {
            Some("db") => &mut database,
            Some("wal") => &mut log,
            _ => continue,
        };
        let Some(at) = words.next().and_then(|at| at.parse::<usize>().ok()) else { continue };
        if cut {
            file.truncate(at);
            continue;
        }
        let digits = words.next().unwrap_or_default().as_bytes();
        let bytes = digits.chunks(2).map_while(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        let places = file.iter_mut().skip(at);
        places.zip(bytes).for_each(|(place, byte)| *place = byte);
    }
    let folder = folder(&[("spool.db", &database), ("spool.db-wal", &log)]);
    spool::hold(folder.path(), false);
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    Vec::new()
}
