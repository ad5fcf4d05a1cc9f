//! An image, and the build directory the builder would have written for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use formats::digest::{FileDigest, Sha256};
use formats::image::ImageId;
use formats::record::{BuildFile, BuildRecord, Fingerprint, Provenance, RecordFormat};
use formats::serial::Serial;
use formats::time::{Span, Timestamp};

use crate::rootfs::{FakeRootfs, xz};

/// An image in milliseconds: a rootfs of a few files, LXC metadata, and a build record that fits them.
///
/// ```
/// # use rootcellar_testkit as testkit;
/// let parent = tempfile::tempdir().unwrap();
/// let build = testkit::FakeImage::new("debian/trixie/amd64/default").serial("20261123_0522").write(parent.path());
/// assert!(build.join("rootfs.tar.xz").is_file());
/// ```
#[derive(Clone, Debug)]
pub struct FakeImage {
    image: ImageId,
    serial: Serial,
    aliases: Vec<String>,
    end_of_life: Option<String>,
    requirements: BTreeMap<String, String>,
    rootfs: FakeRootfs,
    members: BTreeMap<String, Vec<u8>>,
    /// Written to the LXC metadata after its members: whatever no metadata should hold.
    lies: FakeRootfs,
    incus: bool,
    packages: Option<String>,
}

impl FakeImage {
    /// An image by its id, `debian/trixie/amd64/default`, built in the first minute of 2026.
    pub fn new(id: &str) -> Self {
        let image: ImageId = id.parse().expect("an image id");
        let rootfs = FakeRootfs::minimal(&os(&image), image.release.as_str());
        let serial = "20260101_0000".parse().expect("a serial");
        let members = members();
        Self {
            image,
            serial,
            aliases: Vec::new(),
            end_of_life: None,
            requirements: BTreeMap::new(),
            rootfs,
            members,
            lies: FakeRootfs::default(),
            incus: false,
            packages: None,
        }
    }

    /// Sets the serial, `20261123_0522`. The cached copy should be refreshed thirty days after it.
    #[must_use]
    pub fn serial(mut self, serial: &str) -> Self {
        self.serial = serial.parse().expect("a serial");
        self
    }

    /// Adds an alias without architecture, `debian/13`.
    #[must_use]
    pub fn alias(mut self, alias: &str) -> Self {
        self.aliases.push(alias.to_owned());
        self
    }

    /// Sets the day the distribution ends its support, `2030-06-30`.
    #[must_use]
    pub fn end_of_life(mut self, day: &str) -> Self {
        self.end_of_life = Some(day.to_owned());
        self
    }

    /// Adds something a host must offer.
    #[must_use]
    pub fn requirement(mut self, key: &str, value: &str) -> Self {
        self.requirements.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds a file to the rootfs.
    #[must_use]
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.rootfs.file(path, 0o644, content);
        self
    }

    /// Adds an executable file to the rootfs.
    #[must_use]
    pub fn executable(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.rootfs.file(path, 0o755, content);
        self
    }

    /// Adds a character device to the rootfs, and to what unprivileged users leave out.
    #[must_use]
    pub fn device(mut self, path: &str, major: u32, minor: u32) -> Self {
        self.rootfs.device(path, major, minor);
        self.members.entry("excludes-user".to_owned()).or_default().extend(format!("./{path}\n").into_bytes());
        self
    }

    /// Changes the rootfs in any way.
    #[must_use]
    pub fn rootfs(mut self, change: impl FnOnce(&mut FakeRootfs)) -> Self {
        change(&mut self.rootfs);
        self
    }

    /// Sets a member of the LXC metadata, `config`, `config-user.3`, `create-message`.
    #[must_use]
    pub fn member(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.members.insert(name.to_owned(), content.into());
        self
    }

    /// Removes a member of the LXC metadata.
    #[must_use]
    pub fn without_member(mut self, name: &str) -> Self {
        self.members.remove(name);
        self
    }

    /// Adds anything to the archive of the LXC metadata: a lie for tests of what reads it.
    #[must_use]
    pub fn metadata_lie(mut self, tell: impl FnOnce(&mut FakeRootfs)) -> Self {
        tell(&mut self.lies);
        self
    }

    /// Adds the files for Incus and LXD. The squashfs is one by its first bytes only.
    #[must_use]
    pub fn incus(mut self) -> Self {
        self.incus = true;
        self
    }

    /// Adds `packages.json`.
    #[must_use]
    pub fn packages(mut self, json: &str) -> Self {
        self.packages = Some(json.to_owned());
        self
    }

    /// The id of the image.
    pub fn id(&self) -> &ImageId {
        &self.image
    }

    /// The content of every file of the build directory but the sums.
    pub fn files(&self) -> BTreeMap<BuildFile, Vec<u8>> {
        let created = self.created();
        let mut members = self.members.clone();
        members
            .entry("expiry".to_owned())
            .or_insert_with(|| format!("{}\n", (created + CACHE_EXPIRY).unix()).into_bytes());
        let mut files = BTreeMap::from([
            (BuildFile::RootfsTarXz, xz(&self.rootfs.to_tar())),
            (BuildFile::MetaTarXz, xz(&archive(&members, &self.lies))),
            (BuildFile::ImageYaml, format!("image:\n  distribution: {}\n", self.image.distribution).into_bytes()),
        ]);
        if let Some(packages) = &self.packages {
            files.insert(BuildFile::PackagesJson, packages.clone().into_bytes());
        }
        if self.incus {
            let metadata = |agent: &str| {
                let yaml = format!(
                    "architecture: {}\ncreation_date: {}\nproperties:\n  description: {} for {agent}\n",
                    self.image.arch.kernel_name(),
                    created.unix(),
                    self.image
                );
                let members = BTreeMap::from([("metadata.yaml".to_owned(), yaml.into_bytes())]);
                xz(&archive(&members, &FakeRootfs::default()))
            };
            files.insert(BuildFile::IncusTarXz, metadata("Incus"));
            files.insert(BuildFile::LxdTarXz, metadata("LXD"));
            files.insert(BuildFile::RootfsSquashfs, [b"hsqs", self.rootfs.to_tar().as_slice()].concat());
        }
        files
    }

    /// The build record that fits [`files`](Self::files).
    pub fn record(&self) -> BuildRecord {
        let (files, created) = (self.files(), self.created());
        let pairs = [BuildFile::IncusTarXz, BuildFile::LxdTarXz]
            .into_iter()
            .flat_map(|metadata| [BuildFile::RootfsSquashfs, BuildFile::RootfsTarXz].map(|rootfs| (metadata, rootfs)));
        let fingerprints = pairs.filter_map(|(metadata, rootfs)| {
            let parts = [files.get(&metadata)?.as_slice(), files.get(&rootfs)?.as_slice()];
            Some(Fingerprint { metadata, rootfs, sha256: Sha256::of_all(parts) })
        });
        BuildRecord {
            format: RecordFormat::V1,
            image: self.image.clone(),
            serial: self.serial.clone(),
            created,
            cache_expiry: created + CACHE_EXPIRY,
            os: os(&self.image),
            aliases: self.aliases.clone(),
            end_of_life: self.end_of_life.clone(),
            requirements: self.requirements.clone(),
            fingerprints: fingerprints.collect(),
            files: files.iter().map(|(file, content)| (*file, FileDigest::of(content))).collect(),
            rootfs_tar: FileDigest::of(&self.rootfs.to_tar()),
            inputs: Sha256::of(self.image.to_string().as_bytes()),
            provenance: Provenance {
                builder: "fake 1.0".to_owned(),
                spec: Sha256::of(b"fake"),
                overrides: Vec::new(),
                source: "fake".to_owned(),
                repositories: BTreeMap::new(),
            },
        }
    }

    /// Writes the build directory, `<parent>/<image id>/<serial>`, over what is there, and returns its path.
    pub fn write(&self, parent: &Path) -> PathBuf {
        let directory = parent.join(self.image.to_string()).join(self.serial.as_str());
        let record = self.record();
        fs::create_dir_all(&directory).expect("a directory for the build");
        let write = |name: &str, content: &[u8]| fs::write(directory.join(name), content).expect("room for a build");
        self.files().iter().for_each(|(file, content)| write(file.name(), content));
        write("SHA256SUMS", record.sha256sums().as_bytes());
        write("build.json", &record.to_json());
        directory
    }

    fn created(&self) -> Timestamp {
        self.serial.time().expect("the time of a serial")
    }
}

/// The LXC metadata of an image that every compat level can use.
fn members() -> BTreeMap<String, Vec<u8>> {
    let include = |files: &[&str]| {
        let lines = files.iter().map(|file| format!("lxc.include = LXC_TEMPLATE_CONFIG/{file}\n"));
        format!("{}lxc.arch = linux64\n", lines.collect::<String>()).into_bytes()
    };
    let mut members = BTreeMap::from([
        ("config", include(&["common.conf"])),
        ("config-user", include(&["common.conf", "userns.conf"])),
        ("config.1", include(&["debian.common.conf"])),
        ("config-user.1", include(&["debian.common.conf", "debian.userns.conf"])),
        ("create-message", b"You just created a fake container.\n".to_vec()),
        ("excludes-user", Vec::new()),
        ("templates", b"/etc/hostname\n/etc/hosts\n".to_vec()),
    ]);
    members.retain(|_, content| !content.is_empty());
    members.into_iter().map(|(name, content)| (name.to_owned(), content)).collect()
}

fn archive(members: &BTreeMap<String, Vec<u8>>, lies: &FakeRootfs) -> Vec<u8> {
    let mut archive = FakeRootfs::default();
    for (name, content) in members {
        archive.lie(tar::EntryType::Regular, name, "", content);
    }
    archive.append(lies);
    archive.to_tar()
}

fn os(image: &ImageId) -> String {
    let name = image.distribution.as_str();
    name[..1].to_uppercase() + &name[1..]
}

const CACHE_EXPIRY: Span = Span::from_days(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(archive: &Path) -> String {
        let output = std::process::Command::new("tar").arg("-tJf").arg(archive).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_build_directory_holds_what_its_record_says() {
        let parent = tempfile::tempdir().unwrap();
        let build = FakeImage::new("debian/trixie/amd64/default").serial("20261123_0522").incus().write(parent.path());
        let record = BuildRecord::from_json(&fs::read(build.join("build.json")).unwrap()).unwrap();
        assert_eq!(record.fingerprints.len(), 4);
        for (file, digest) in record.files {
            assert_eq!(FileDigest::of(&fs::read(build.join(file.name())).unwrap()), digest, "{file}");
        }
    }

    #[test]
    fn the_archives_are_ones_that_gnu_tar_reads() {
        let parent = tempfile::tempdir().unwrap();
        let image = FakeImage::new("debian/trixie/amd64/default").file("etc/motd", "hello").device("dev/null", 1, 3);
        let build = image.write(parent.path());
        let rootfs = listed(&build.join("rootfs.tar.xz"));
        assert!(["./\n", "./etc/motd\n", "./dev/null\n"].iter().all(|name| rootfs.contains(name)), "{rootfs}");
        let metadata = listed(&build.join("meta.tar.xz"));
        assert!(["config\n", "config-user\n", "expiry\n", "excludes-user\n"].iter().all(|n| metadata.contains(n)));
    }

    #[test]
    fn the_same_image_has_the_same_bytes_and_another_serial_has_others() {
        let image = FakeImage::new("debian/trixie/amd64/default");
        assert_eq!(image.record(), image.clone().record());
        assert_ne!(image.record().files, image.serial("20261123_0522").record().files);
    }
}
