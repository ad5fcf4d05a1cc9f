//! The data directory of a server.

use std::env;
use std::fs::Permissions;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::name::Name;
use fs_err as fs;
use rustix::fs::{FlockOperation, flock};
use terminal::Printer;

use crate::files;
use crate::store::{Backend, Settings, SettingsError, settings};

/// The data directory.
///
/// ```text
/// <data>/v1/
/// ├── images/<distribution>/<release>/<arch>/<variant>/<serial>/…    the store: immutable builds, laid out as served
/// ├── store.toml                                                     or the object store that holds them instead
/// ├── channels/<channel>.json                                        which builds each channel offers, and offered
/// ├── pins.json  ledger.json                                         what is never pruned; what was listed, until when
/// ├── deltas.json                                                   which deltas stand beside builds
/// ├── rendered/<channel>/<distribution>.json                        what documents were made of; not needed, only faster
/// ├── making/                                                        0700; deltas that are not whole yet
/// ├── delta.lock                                                     held by the one maker of deltas
/// ├── uploads/<id>/                                                  0700; builds that are on their way in
/// ├── operations.sqlite                                              0600; tokens, unless another database is configured
/// ├── quarantine/<distribution>/…/<serial>/                          0700; damaged builds, out of the store
/// ├── generations/<repository serial>/                               all documents of one generation, laid out as served:
/// │   ├── meta/1.0/index-{system,user}[.1 … .7][.asc]                channel `stable` at the top,
/// │   ├── streams/v1/…   keys/<fingerprint>.pgp
/// │   └── c/<channel>/{meta,streams}/…                               every other channel below its prefix
/// ├── current -> generations/<repository serial>                     flipped by one rename
/// ├── keys/{repository,compat}.secret.pgp                            0700, files 0600
/// │   └── revoked/<fingerprint>.{pgp,secret}                         keys that were revoked
/// ├── tls/{ca,server}.pem  {ca,server}.key.pem  server.json          the private certificate authority
/// ├── staging/                                                       0700; what is not whole yet, emptied by each writer
/// └── lock                                                           held by the one writer
/// ```
///
/// `images/` and one generation, side by side, are a static site but for `streams/v1/images.json`, which is made of other
/// documents where it is served, and for `c/<channel>/images` and `c/<channel>/keys`, which clients of another channel
/// need to lead to the ones at the top. An export has all of them.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
    backend: Arc<dyn Backend>,
}

impl DataDir {
    /// Where the data is when nothing else is said: `/var/lib/rootcellar-server` for root, else below the user's
    /// data home.
    pub fn default_path() -> PathBuf {
        if rustix::process::geteuid().is_root() {
            return PathBuf::from("/var/lib/rootcellar-server");
        }
        let variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")));
        home.unwrap_or_else(|| PathBuf::from("/var/lib")).join("rootcellar-server")
    }

    /// Opens the data directory and makes what is missing of it.
    pub fn open(data: &Path) -> Result<Self, SettingsError> {
        let root = std::path::absolute(data)?.join(VERSION);
        let this = Self { backend: settings::backend(&root)?, root };
        for directory in [this.images(), this.channels(), this.generations()] {
            fs::create_dir_all(directory)?;
        }
        for private in [this.keys(), this.tls(), this.staging(), this.quarantine(), this.making(), this.uploads()] {
            if !private.is_dir() {
                fs::create_dir_all(&private)?;
                fs::set_permissions(&private, Permissions::from_mode(0o700))?;
            }
        }
        Ok(this)
    }

    /// Where the builds are.
    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Waits until no other process writes, and then is the one writer until the value is dropped. What a killed
    /// writer left in the staging directory is removed.
    pub fn write(&self, printer: &Printer) -> io::Result<Writer> {
        let path = self.root.join("lock");
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                printer.say("Waiting for another rootcellar-server to finish writing");
                flock(&lock, FlockOperation::LockExclusive)?;
            }
            Err(error) => return Err(error.into()),
        }
        let writer = Writer { data: self.clone(), _lock: lock };
        writer.empty_staging()?;
        Ok(writer)
    }

    /// The top of the layout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The store.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// The state files of the channels.
    pub fn channels(&self) -> PathBuf {
        self.root.join("channels")
    }

    /// The builds that are never pruned.
    pub fn pins(&self) -> PathBuf {
        self.root.join("pins.json")
    }

    /// Which builds are listed, and since when others are not.
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger.json")
    }

    /// Which deltas stand beside builds.
    pub fn deltas(&self) -> PathBuf {
        self.root.join("deltas.json")
    }

    /// What is known of how the documents of a distribution in a channel were made.
    pub fn rendered(&self, channel: &Name, distribution: &Name) -> PathBuf {
        self.root.join("rendered").join(channel.as_str()).join(format!("{distribution}.json"))
    }

    /// Where deltas are made. It is not the staging directory, because they take minutes and no writer waits for them.
    pub fn making(&self) -> PathBuf {
        self.root.join("making")
    }

    /// Builds that are on their way in.
    pub fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    /// The operations database, unless another one is configured.
    pub fn operations(&self) -> PathBuf {
        self.root.join("operations.sqlite")
    }

    /// Where damaged builds are moved.
    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// The generations.
    pub fn generations(&self) -> PathBuf {
        self.root.join("generations")
    }

    /// The link to the current generation.
    pub fn current(&self) -> PathBuf {
        self.root.join("current")
    }

    /// The settings of the object store that holds the builds, if one does.
    pub fn store_settings(&self) -> PathBuf {
        self.root.join(Settings::FILE)
    }

    /// The signing keys.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// What is left of keys that were revoked: `<fingerprint>.pgp`, which is served, and `<fingerprint>.secret`.
    pub fn revoked_keys(&self) -> PathBuf {
        self.keys().join("revoked")
    }

    /// The private certificate authority and the server's certificate.
    pub fn tls(&self) -> PathBuf {
        self.root.join("tls")
    }

    /// Where things are made before they are renamed into place.
    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }
}

/// The one writer of a data directory. Whatever changes it asks for this type.
#[derive(Debug)]
pub struct Writer {
    data: DataDir,
    _lock: fs::File,
}

impl Writer {
    /// Puts a file in its place, whole.
    pub fn put(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        files::write_whole(&self.staging(), path, content, mode)
    }

    fn empty_staging(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.staging())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Deref for Writer {
    type Target = DataDir;

    fn deref(&self) -> &DataDir {
        &self.data
    }
}

const VERSION: &str = "v1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_what_is_staged_are_closed_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        for private in [data.keys(), data.tls(), data.staging()] {
            assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o700, "{}", private.display());
        }
    }

    #[test]
    fn a_second_writer_waits_and_says_so_and_what_the_first_left_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let (printer, captured) = Printer::captured(false);
        let first = data.write(&printer).unwrap();
        fs::create_dir(data.staging().join("half")).unwrap();
        fs::write(data.staging().join("half/file"), "x").unwrap();
        assert_eq!(captured.stderr(), "");
        let second = std::thread::spawn({
            let (data, printer) = (data.clone(), printer.clone());
            move || data.write(&printer).map(|_| ())
        });
        while !captured.stderr().contains("Waiting") {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(!second.is_finished());
        drop(first);
        second.join().unwrap().unwrap();
        assert_eq!(fs::read_dir(data.staging()).unwrap().count(), 0);
    }
}
