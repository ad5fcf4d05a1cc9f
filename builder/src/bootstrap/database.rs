//! dpkg's database of packages that were unpacked and wait to be configured.
//!
//! ```text
//! /var/lib/dpkg/
//! ├── status          a stanza for each package, `install ok unpacked`
//! ├── tmp.staged/     a directory of control files for each package that is not in `status` yet
//! ├── info/           format; PACKAGE.list, .md5sums, .conffiles, .postinst … (PACKAGE:ARCH where several may be there)
//! └── triggers/       File, one file for each trigger, Unincorp
//! ```
//!
//! dpkg reads it, and writes it anew when it configures the packages.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use archive::beneath::RootDir;
use archive::unpack::Listed;
use md5::{Digest, Md5};

use super::control::{self, Stanza};
use super::triggers::{self, Interest};

/// What a package brings beside its files.
#[derive(Clone, Debug)]
pub(super) struct Control {
    /// The fields.
    pub(super) stanza: Stanza,
    /// The files of the control archive, apart from the fields.
    pub(super) files: Vec<(String, Vec<u8>)>,
}

impl Control {
    /// Reads the control archive of a package.
    pub(super) fn parse(files: Vec<(String, Vec<u8>)>) -> Result<Self, String> {
        let (mut fields, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|(name, _)| name == "control");
        let (_, text) = fields.pop().ok_or("there is no control file")?;
        let text = String::from_utf8(text).map_err(|_| "its control file is no text")?;
        let mut stanzas = control::parse(&text).map_err(|error| error.to_string())?;
        match stanzas.pop() {
            Some(stanza) if stanzas.is_empty() => Ok(Self { stanza, files }),
            _ => Err("its control file does not describe one package".to_owned()),
        }
    }

    /// One of the files.
    pub(super) fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.iter().find(|(known, _)| known == name).map(|(_, content)| content.as_slice())
    }

    /// How dpkg's database names the package.
    pub(super) fn database_name(&self) -> String {
        let name = self.stanza.get("Package").unwrap_or_default();
        match (self.stanza.get("Multi-Arch"), self.stanza.get("Architecture")) {
            (Some("same"), Some(arch)) => format!("{name}:{arch}"),
            _ => name.to_owned(),
        }
    }

    /// The paths that are configuration, without the leading slash, and whether they go away on an upgrade.
    fn conffiles(&self) -> Vec<(String, bool)> {
        let text = String::from_utf8_lossy(self.file("conffiles").unwrap_or_default());
        let line = |line: &str| {
            let (flag, path) = match line.trim().strip_prefix("remove-on-upgrade") {
                Some(rest) => (true, rest.trim_start()),
                None => (false, line.trim()),
            };
            path.strip_prefix('/').map(|path| (path.to_owned(), flag))
        };
        text.lines().filter_map(line).collect()
    }
}

/// The database in a tree.
pub(super) struct Database<'a> {
    root: &'a RootDir,
    tree: PathBuf,
    directory: PathBuf,
    interests: Vec<Interest>,
    configured: BTreeSet<String>,
}

impl<'a> Database<'a> {
    /// The database below the directory that `root` is open on and `directory` names.
    pub(super) fn new(root: &'a RootDir, tree: &std::path::Path) -> Self {
        let directory = tree.join("var/lib/dpkg");
        Self { root, tree: tree.to_owned(), directory, interests: Vec::new(), configured: BTreeSet::new() }
    }

    /// Makes the directory that the control archive of a package is unpacked into, before it can be recorded.
    pub(super) fn stage(&self, control: &Control) -> io::Result<PathBuf> {
        let place = self.staged(control);
        fs_err::create_dir_all(&place)?;
        Ok(place)
    }

    /// Removes what is left of the directories for control archives.
    pub(super) fn unstage(&self) -> io::Result<()> {
        match fs_err::remove_dir_all(self.tree.join(STAGED)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn staged(&self, control: &Control) -> PathBuf {
        self.tree.join(STAGED).join(control.database_name())
    }

    /// Records packages whose control archives were staged and whose files are in the tree.
    pub(super) fn record(&mut self, packages: &[(Control, Vec<Listed>)]) -> io::Result<()> {
        for directory in ["info", "triggers", "updates", "alternatives", "parts"] {
            fs_err::create_dir_all(self.directory.join(directory))?;
        }
        fs_err::write(self.directory.join("info/format"), "1\n")?;
        let path = self.directory.join("status");
        let mut status = if path.exists() { fs_err::read_to_string(&path)? } else { String::new() };
        let mut set_off = String::new();
        for (control, list) in packages {
            status.push_str(&self.info(control, list)?);
            status.push('\n');
            set_off.push_str(&triggers::activated(&self.interests, &self.configured, list));
        }
        for (control, _) in packages {
            let text = String::from_utf8_lossy(control.file("triggers").unwrap_or_default());
            self.interests.extend(triggers::interests(&control.database_name(), &text));
        }
        for (name, lines) in triggers::records(&self.interests) {
            fs_err::write(self.directory.join("triggers").join(name), lines)?;
        }
        if !set_off.is_empty() {
            fs_err::write(self.directory.join("triggers/Unincorp"), set_off)?;
        }
        fs_err::write(path, status)
    }

    /// Notes that a package was configured, so that triggers reach it.
    pub(super) fn configured(&mut self, control: &Control) {
        self.configured.insert(control.database_name());
    }

    /// Writes what dpkg keeps of a package, and returns its stanza.
    fn info(&self, control: &Control, list: &[Listed]) -> io::Result<String> {
        let name = control.database_name();
        let place = |what: &str| self.directory.join("info").join(format!("{name}.{what}"));
        for (what, _) in &control.files {
            fs_err::rename(self.staged(control).join(what), place(what))?;
        }
        fs_err::write(place("list"), rendered(list))?;
        let conffiles = control.conffiles();
        if control.file("md5sums").is_none() {
            fs_err::write(place("md5sums"), self.digests(list, &conffiles)?)?;
        }
        let mut stanza = control.stanza.with_status("install ok unpacked");
        if !conffiles.is_empty() {
            stanza.push_str("Conffiles:\n");
        }
        for (path, flag) in conffiles {
            // dpkg's own words for a file that is not there.
            let digest = if flag { "newconffile".to_owned() } else { self.md5(path.as_bytes())? };
            let flag = if flag { " remove-on-upgrade" } else { "" };
            let _ = writeln!(stanza, " /{path} {digest}{flag}");
        }
        Ok(stanza)
    }

    /// The digests that dpkg takes itself when a package has none.
    fn digests(&self, list: &[Listed], conffiles: &[(String, bool)]) -> io::Result<Vec<u8>> {
        let mut lines = Vec::new();
        let is_conffile = |file: &Listed| conffiles.iter().any(|(path, _)| path.as_bytes() == file.path);
        for file in list.iter().filter(|file| !file.is_directory && !is_conffile(file)) {
            let on_disk = self.tree.join(as_os(&file.path));
            if fs_err::symlink_metadata(on_disk)?.is_file() {
                lines.extend_from_slice(self.md5(&file.path)?.as_bytes());
                lines.extend_from_slice(b"  ");
                lines.extend_from_slice(&file.path);
                lines.push(b'\n');
            }
        }
        Ok(lines)
    }

    fn md5(&self, path: &[u8]) -> io::Result<String> {
        let content = self.root.read(as_os(path), FILE_BYTES)?;
        Ok(Md5::digest(content).iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }
}

/// The list of a package's files: the root is `/.`.
fn rendered(list: &[Listed]) -> Vec<u8> {
    let mut lines = Vec::new();
    for file in list {
        lines.push(b'/');
        lines.extend_from_slice(if file.path.is_empty() { b"." } else { &file.path });
        lines.push(b'\n');
    }
    lines
}

fn as_os(path: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(path)
}

/// Where control archives are unpacked, in the tree.
pub(super) const STAGED: &str = "var/lib/dpkg/tmp.staged";
/// The largest file whose digest is taken.
const FILE_BYTES: u64 = 4 << 30;

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    const FIELDS: &str = "Package: x\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same\n";

    fn control(files: &[(&str, &str)]) -> Control {
        let mut all = vec![("control".to_owned(), FIELDS.as_bytes().to_vec())];
        all.extend(files.iter().map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec())));
        Control::parse(all).unwrap()
    }

    fn listed(path: &str, is_directory: bool) -> Listed {
        Listed { path: path.into(), is_directory }
    }

    /// Stages and records a package.
    fn record(database: &mut Database<'_>, control: Control, list: Vec<Listed>) -> io::Result<()> {
        let place = database.stage(&control)?;
        for (name, content) in &control.files {
            fs::write(place.join(name), content)?;
        }
        database.record(&[(control, list)])?;
        database.unstage()
    }

    fn tree() -> (tempfile::TempDir, RootDir) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("etc")).unwrap();
        fs::write(directory.path().join("etc/x.conf"), "abc").unwrap();
        let root = RootDir::open(directory.path()).unwrap();
        (directory, root)
    }

    #[test]
    fn an_unpacked_package_is_recorded_as_dpkg_would() {
        let (directory, root) = tree();
        let mut database = Database::new(&root, directory.path());
        let package = control(&[("conffiles", "/etc/x.conf\n"), ("postinst", "#!/bin/sh\n"), ("md5sums", "")]);
        let list = vec![listed("", true), listed("etc", true), listed("etc/x.conf", false)];
        record(&mut database, package, list).unwrap();
        let at = |path: &str| directory.path().join("var/lib/dpkg").join(path);
        let status = fs::read_to_string(at("status")).unwrap();
        let expected = "Package: x\nStatus: install ok unpacked\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same\n\
                        Conffiles:\n /etc/x.conf 900150983cd24fb0d6963f7d28e17f72\n\n";
        assert_eq!(status, expected);
        assert_eq!(fs::read_to_string(at("info/x:amd64.list")).unwrap(), "/.\n/etc\n/etc/x.conf\n");
        assert_eq!(fs::read_to_string(at("info/x:amd64.postinst")).unwrap(), "#!/bin/sh\n");
        assert!(!at("tmp.staged").exists());
    }

    #[test]
    fn a_package_without_digests_gets_those_of_its_plain_files() {
        let (directory, root) = tree();
        std::os::unix::fs::symlink("x.conf", directory.path().join("etc/link")).unwrap();
        let mut database = Database::new(&root, directory.path());
        let list = vec![listed("etc", true), listed("etc/x.conf", false), listed("etc/link", false)];
        record(&mut database, control(&[]), list).unwrap();
        let digests = fs::read_to_string(directory.path().join("var/lib/dpkg/info/x:amd64.md5sums")).unwrap();
        assert_eq!(digests, "900150983cd24fb0d6963f7d28e17f72  etc/x.conf\n");
    }

    #[test]
    fn a_conffile_that_the_package_lacks_is_an_error() {
        let (directory, root) = tree();
        let mut database = Database::new(&root, directory.path());
        assert!(record(&mut database, control(&[("conffiles", "/etc/missing\n")]), Vec::new()).is_err());
    }

    #[test]
    fn conffiles_that_go_away_on_upgrade_are_told_apart() {
        let conffiles = control(&[("conffiles", "/etc/a\nremove-on-upgrade /etc/b\n\n")]).conffiles();
        assert_eq!(conffiles, [("etc/a".to_owned(), false), ("etc/b".to_owned(), true)]);
    }

    #[test]
    fn a_control_archive_must_describe_one_package() {
        for text in ["", "\n", "Package: a\n\nPackage: b\n", "no field"] {
            assert!(Control::parse(vec![("control".into(), text.into())]).is_err(), "{text:?}");
        }
        assert!(Control::parse(Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn any_list_of_conffiles_is_survived(text: String) {
            for (path, _) in control(&[("conffiles", &text)]).conffiles() {
                prop_assert!(!path.contains('\n'));
            }
        }
    }
}
