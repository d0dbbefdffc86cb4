//! Inputs: everything that a load reads beside the flags, each once, so that one load sees one state of a file or variable.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256, digest};
use zeroize::Zeroizing;

use super::load::{FILE_BYTES_MAX, Source};
use super::read;
use super::references::{PLACEHOLDER, REFERENCE_BYTES_MAX};
use crate::secret::Secret;
use crate::template::Pool;
use crate::webhook::grant::{AssertionKey, KeyError};
use crate::webhook::tls::{Authorities, ClientCertificate, ClientCertificateError};

/// A value that a reference came to; the error is a problem and its fix.
pub(super) type Looked = Result<Secret, (String, String)>;

/// What decides whether two texts are the same: their SHA-256.
pub(super) type Digest = [u8; 32];

/// How many hexadecimal digits of a configuration's hash are shown: 48 bits, which the number of a gauge holds exactly.
const HASH_DIGITS: usize = 12;

/// A text file: what stands in it; the error completes a sentence that begins with the file's name.
pub(super) type TextFile = Result<(String, Digest), String>;

/// Why there are no certificates of a file; it completes a sentence that begins with the file.
#[derive(Clone)]
pub(super) enum Unread {
    /// It is not there to be read.
    Absent(String),
    /// It is there and no good.
    Bad(String),
}

/// Something outside its own file that a webhook was compiled with.
pub(super) enum Input {
    /// A reference, by the text inside `${…}`, and what it came to.
    Reference(String, Arc<Looked>),
    /// A file, by its path from the configuration folder, and what stood in it.
    File(PathBuf, Result<Digest, String>),
}

/// What a load reads.
pub(super) struct Inputs<'s> {
    pub(super) source: &'s Source,
    /// Every file and folder looked for, in the order of looking.
    pub(super) watched: Vec<PathBuf>,
    /// Templates that are in use.
    pub(super) templates: &'s mut Pool,
    values: BTreeMap<String, Arc<Looked>>,
    shared: BTreeMap<PathBuf, Arc<TextFile>>,
    /// The texts of files that webhooks keep.
    texts: BTreeMap<PathBuf, Arc<Secret>>,
    /// Parsed certificates and keys, by the paths of their files: thousands of webhooks may name the same.
    authorities: BTreeMap<PathBuf, Result<Arc<Authorities>, Unread>>,
    client_certificates: BTreeMap<(String, String), Result<Arc<ClientCertificate>, ClientCertificateError>>,
    assertion_keys: BTreeMap<String, Result<Arc<AssertionKey>, KeyError>>,
    /// The files that decide the configuration, by their paths from its folder.
    digests: Vec<(OsString, Digest)>,
    record: Vec<Input>,
}

impl<'s> Inputs<'s> {
    pub(super) fn new(source: &'s Source, templates: &'s mut Pool) -> Self {
        Self {
            source,
            watched: Vec::new(),
            templates,
            values: BTreeMap::new(),
            shared: BTreeMap::new(),
            texts: BTreeMap::new(),
            authorities: BTreeMap::new(),
            client_certificates: BTreeMap::new(),
            assertion_keys: BTreeMap::new(),
            digests: Vec::new(),
            record: Vec::new(),
        }
    }

    /// What was looked up since the last call, in order: a compilation that gets the same answers asks the same questions.
    pub(super) fn recorded(&mut self) -> Vec<Input> {
        std::mem::take(&mut self.record)
    }

    /// Whether an input is what it was.
    pub(super) fn is_still(&mut self, input: &Input) -> bool {
        match input {
            Input::Reference(name, before) => *self.value(name) == **before,
            Input::File(path, before) => state(&self.file(path)) == *before,
        }
    }

    /// The value of a reference.
    pub(super) fn look_up(&mut self, name: &str) -> Looked {
        let value = self.value(name);
        self.record.push(Input::Reference(name.to_owned(), Arc::clone(&value)));
        Looked::clone(&value)
    }

    /// Reads a file that more than one may use, by its path from the configuration folder.
    pub(super) fn read(&mut self, path: &Path) -> Arc<TextFile> {
        let file = self.file(path);
        self.record.push(Input::File(path.to_owned(), state(&file)));
        file
    }

    /// The text of a file that was read, kept once for all webhooks that keep it.
    pub(super) fn shared_text(&mut self, path: &Path, text: &str) -> Arc<Secret> {
        let kept = self.texts.entry(path.to_owned()).or_insert_with(|| Arc::new(Secret::new(text.to_owned())));
        Arc::clone(kept)
    }

    /// The certificates of a file, by its path from the configuration folder.
    pub(super) fn authorities(&mut self, path: &Path) -> Result<Arc<Authorities>, Unread> {
        let file = self.read(path);
        let parsed = self.authorities.entry(path.to_owned()).or_insert_with(|| match &*file {
            Ok((pem, _)) => Authorities::parse(pem).map(Arc::new).map_err(|error| Unread::Bad(error.to_string())),
            Err(problem) => Err(Unread::Absent(problem.clone())),
        });
        parsed.clone()
    }

    /// The client certificate of two files, each with its path and what stands in it.
    pub(super) fn client_certificate(
        &mut self,
        chain: (&str, &Secret),
        key: (&str, &Secret),
    ) -> Result<Arc<ClientCertificate>, ClientCertificateError> {
        let paths = (chain.0.to_owned(), key.0.to_owned());
        let parse = || ClientCertificate::parse(chain.1.expose(), key.1).map(Arc::new);
        self.client_certificates.entry(paths).or_insert_with(parse).clone()
    }

    /// The key of a file that signs assertions, with its path and what stands in it.
    pub(super) fn assertion_key(&mut self, path: &str, pem: &Secret) -> Result<Arc<AssertionKey>, KeyError> {
        let parse = || AssertionKey::parse(pem).map(Arc::new);
        self.assertion_keys.entry(path.to_owned()).or_insert_with(parse).clone()
    }

    /// Reads a file that nobody else uses, by its path from the configuration folder; its text is not kept.
    pub(super) fn read_own(&mut self, path: &Path, bytes_max: u64) -> TextFile {
        let at = self.source.dir.join(path);
        let text = read::text(&at, bytes_max);
        self.watched.push(at);
        let text = text?;
        let digest = digest_of(&text);
        self.digests.push((path.into(), digest));
        Ok((text, digest))
    }

    /// A hash over the names and texts of all files read so far.
    pub(super) fn hash(&mut self) -> String {
        self.digests.sort_unstable();
        self.digests.dedup();
        let mut context = Context::new(&SHA256);
        for (path, digest) in &self.digests {
            context.update(path.as_encoded_bytes());
            // No path holds a zero, and all digests are of one length: what is hashed can be read in one way only.
            context.update(&[0]);
            context.update(digest);
        }
        let mut hash = String::with_capacity(2 * SHA256.output_len());
        for byte in context.finish().as_ref() {
            let _ = write!(hash, "{byte:02x}");
        }
        hash.truncate(HASH_DIGITS);
        hash
    }

    fn file(&mut self, path: &Path) -> Arc<TextFile> {
        if let Some(known) = self.shared.get(path) {
            return Arc::clone(known);
        }
        let file = Arc::new(self.read_own(path, FILE_BYTES_MAX));
        self.shared.insert(path.to_owned(), Arc::clone(&file));
        file
    }

    fn value(&mut self, name: &str) -> Arc<Looked> {
        if let Some(known) = self.values.get(name) {
            return Arc::clone(known);
        }
        let value = Arc::new(match name.split_once(':') {
            Some(("env", variable)) => self.variable(variable),
            Some(("file", path)) => self.secret_file(path),
            _ => Err((
                format!("`${{{name}}}` is no reference"),
                "write ${env:NAME} or ${file:PATH}, and $${ for a literal ${".to_owned(),
            )),
        });
        self.values.insert(name.to_owned(), Arc::clone(&value));
        value
    }

    fn variable(&self, name: &str) -> Looked {
        let valid = !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
        if !valid {
            let fix = "a name has letters, digits and `_`, and begins with no digit".to_owned();
            return Err((format!("`{name}` is no name of an environment variable"), fix));
        }
        match (self.source.env)(name) {
            Some(value) if value.len() as u64 > REFERENCE_BYTES_MAX => Err((
                format!("the environment variable `{name}` is larger than {REFERENCE_BYTES_MAX} bytes"),
                "make it smaller".to_owned(),
            )),
            Some(value) => Ok(Secret::new(value)),
            None if self.source.placeholders => Ok(Secret::new(PLACEHOLDER.to_owned())),
            None => Err((format!("the environment variable `{name}` is not set"), format!("set {name}"))),
        }
    }

    fn secret_file(&mut self, written: &str) -> Looked {
        let path = self.source.dir.join(Path::new(written));
        self.watched.push(path.clone());
        let read = if self.source.files_unread {
            Err("is not read".to_owned())
        } else {
            read::text(&path, REFERENCE_BYTES_MAX)
        };
        match read {
            Ok(text) => {
                let text = Zeroizing::new(text);
                let value =
                    text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
                Ok(Secret::new(value.to_owned()))
            }
            Err(_) if self.source.placeholders => Ok(Secret::new(PLACEHOLDER.to_owned())),
            Err(problem) => Err((
                format!("the file `{written}` {problem}"),
                "create it, or correct the path (it is taken from the configuration folder)".to_owned(),
            )),
        }
    }
}

/// What decides whether a file is what it was.
fn state(file: &TextFile) -> Result<Digest, String> {
    file.as_ref().map(|(_, digest)| *digest).map_err(Clone::clone)
}

fn digest_of(text: &str) -> Digest {
    let mut bytes = Digest::default();
    bytes.iter_mut().zip(digest(&SHA256, text.as_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}
