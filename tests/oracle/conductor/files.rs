//! Edits of the configuration's files: good ones, faulty ones, statuses, secrets, and the spool's limit.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::oracle::history::{Defined, State, Status};
use crate::oracle::webhooks::{COUNT, LEAVING, RESTING, SPECS};

use super::{BROKEN_MAX, Conductor, Mend};

/// What a spool that shall become full may still take, in bytes.
const ROOM_BYTES: u64 = 96 * 1024;
/// `spool.max_bytes` cannot be less.
const SPOOL_BYTES_MIN: u64 = 1024 * 1024;

impl Conductor {
    /// Makes the spool of the next process so small that it will be full, or large again.
    pub(super) fn fill(&mut self) {
        self.full = !self.full && self.chance.u8(..6) == 0;
        if self.full {
            self.count("full");
        }
        self.write_settings();
    }

    pub(super) fn write_settings(&self) {
        let mut settings = self.settings.clone();
        if self.full {
            let entries = fs::read_dir(self.sidecar.written().dir().join("spool")).expect("a folder");
            let bytes: u64 = entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum();
            let room = (bytes + ROOM_BYTES).max(SPOOL_BYTES_MIN);
            settings.extend(["\nspool.max_bytes = ", &room.to_string(), "\n"]);
        }
        self.sidecar.written().replace("outrigger.toml", &settings);
    }

    /// Writes down the state that the next change of a file makes.
    pub(super) fn note_state(&self) {
        let state = State { at: self.world.now(), good: self.broken.is_none(), webhooks: self.webhooks };
        self.world.history().states.push(state);
    }

    fn write_webhook(&self, webhook: usize) {
        let Defined { status, version } = self.webhooks[webhook];
        let spec = &SPECS[webhook];
        let file = spec.file(&self.relays[spec.receiver].addr().to_string(), status, version);
        self.sidecar.written().write_webhook(spec.name, &file);
    }

    pub(super) fn edit(&mut self) {
        let webhook = self.chance.usize(..COUNT);
        if self.broken != Some(webhook) && self.webhooks[webhook].status != Status::Absent {
            self.count("edit");
            self.redefine(webhook);
        }
    }

    /// A new template, which ends a pause as well.
    pub(super) fn redefine(&mut self, webhook: usize) {
        if self.broken == Some(webhook) {
            self.mend_configuration();
        }
        self.webhooks[webhook].version += 1;
        self.note_state();
        if self.webhooks[webhook].status != Status::Absent {
            self.write_webhook(webhook);
        }
    }

    pub(super) fn set_status(&mut self, webhook: usize, status: Status) {
        if self.broken == Some(webhook) {
            self.mend_configuration();
        }
        self.webhooks[webhook].status = status;
        self.note_state();
        if status == Status::Absent {
            let file = self.sidecar.written().config().join("webhooks").join(format!("{}.toml", SPECS[webhook].name));
            fs::remove_file(file).expect("it is there");
        } else {
            self.write_webhook(webhook);
        }
    }

    pub(super) fn rest(&mut self) {
        if self.webhooks[RESTING].status == Status::Active {
            self.count("inactive");
            self.set_status(RESTING, Status::Inactive);
            self.mend_later(Mend::Rest);
        }
    }

    pub(super) fn remove(&mut self) {
        if self.webhooks[LEAVING].status == Status::Active {
            self.count("removed");
            self.set_status(LEAVING, Status::Absent);
            // Now and then long enough for its deliveries to be given up.
            self.mend_later(Mend::Removal);
            if self.chance.bool()
                && let Some((until, _)) = self.mends.last_mut()
            {
                *until += BROKEN_MAX;
            }
        }
    }

    pub(super) fn break_configuration(&mut self) {
        let file = self.chance.usize(..=COUNT);
        if self.broken.is_some() || (file < COUNT && self.webhooks[file].status == Status::Absent) {
            return;
        }
        self.count("faulty");
        self.broken = Some(file);
        self.note_state();
        if file == COUNT {
            self.sidecar.written().replace("outrigger.toml", "[ingest]\nlisten = 7\n");
        } else {
            let texts = ["url = \"https://", "url = \"http://127.0.0.1/\"\n", "", "uri = 1\n"];
            self.sidecar.written().write_webhook(SPECS[file].name, texts[self.chance.usize(..texts.len())]);
        }
        self.mend_later(Mend::Broken);
    }

    pub(super) fn mend_configuration(&mut self) {
        let Some(file) = self.broken.take() else { return };
        self.mends.retain(|(_, mend)| *mend != Mend::Broken);
        self.note_state();
        if file == COUNT {
            self.write_settings();
        } else {
            self.write_webhook(file);
        }
    }

    /// The receiver takes another token from now on; the sidecar is given it now or later.
    pub(super) fn rotate(&mut self) {
        if self.mends.iter().any(|(_, mend)| matches!(mend, Mend::Secret { .. })) {
            return;
        }
        self.count("rotated");
        self.tokens += 1;
        let since = self.world.now();
        self.world.set_token(&token(self.tokens));
        self.mend_later(Mend::Secret { since });
    }
}

/// The bearer token of this number.
pub(in crate::oracle) fn token(number: u32) -> String {
    format!("token-{number}")
}

/// Puts a token into a folder of secrets as a volume does: in a folder of its own that `..data` is turned to.
pub(in crate::oracle) fn write_secret(folder: &Path, number: u32) {
    let dated = folder.join(format!("..{number}"));
    fs::create_dir_all(&dated).expect("a folder");
    fs::write(dated.join("token"), token(number)).expect("a file");
    let fresh = folder.join("..data_tmp");
    symlink(format!("..{number}"), &fresh).expect("a link");
    fs::rename(&fresh, folder.join("..data")).expect("a rename");
    let visible = folder.join("token");
    if !visible.is_symlink() {
        symlink("..data/token", visible).expect("a link");
    }
}
