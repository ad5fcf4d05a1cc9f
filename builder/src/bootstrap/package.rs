//! One package file (deb(5)): a control archive and a data archive.
//!
//! xz, which Debian uses, is decoded here; whatever else dpkg knows is left to `dpkg-deb`. The decoded form is a package
//! file again, whose two archives are not compressed.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use archive::members::{MemberLimits, read_members};
use archive::xz::{DecodeLimits, Decoder};

use super::ar::{self, ArMember};

/// A package file without compression.
#[derive(Debug)]
pub(super) struct Package {
    file: File,
    control: ArMember,
    data: ArMember,
}

impl Package {
    /// The package in `file`.
    pub(super) fn open(file: File) -> io::Result<Self> {
        let members = ar::members(&file)?;
        let (control, data) = (find(&members, CONTROL)?.clone(), find(&members, DATA)?.clone());
        if control.name != CONTROL || data.name != DATA {
            return Err(bad("a decoded package is compressed"));
        }
        Ok(Self { file, control, data })
    }

    /// The files of the control archive: `control`, maintainer scripts, lists.
    pub(super) fn control_files(&mut self) -> io::Result<Vec<(String, Vec<u8>)>> {
        let limits = MemberLimits { total_bytes: CONTROL_BYTES, ..MemberLimits::default() };
        read_members(self.control()?, &limits).map_err(io::Error::other)
    }

    /// The control archive.
    pub(super) fn control(&mut self) -> io::Result<impl Read> {
        self.file.seek(SeekFrom::Start(self.control.offset))?;
        Ok((&self.file).take(self.control.size_bytes))
    }

    /// The data archive.
    pub(super) fn data(&mut self) -> io::Result<impl Read> {
        self.file.seek(SeekFrom::Start(self.data.offset))?;
        Ok((&self.file).take(self.data.size_bytes))
    }
}

/// Writes the package file at `path` to `out` without compression.
pub(super) fn decode(path: &Path, out: &mut File) -> io::Result<()> {
    let mut file = fs_err::File::open(path)?;
    let members = ar::members(&mut file)?;
    let mut version = String::new();
    let first = members.first().filter(|member| member.name == "debian-binary").ok_or_else(|| bad("no package"))?;
    file.seek(SeekFrom::Start(first.offset))?;
    (&mut file).take(first.size_bytes.min(VERSION_BYTES)).read_to_string(&mut version)?;
    if !version.starts_with("2.") {
        return Err(bad("the package is of an unknown format"));
    }
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    ar::begin(&mut out)?;
    ar::append(&mut out, "debian-binary", |out| out.write_all(b"2.0\n"))?;
    for (name, option) in [(CONTROL, "--ctrl-tarfile"), (DATA, "--fsys-tarfile")] {
        let member = find(&members, name)?;
        file.seek(SeekFrom::Start(member.offset))?;
        let content = (&mut file).take(member.size_bytes);
        ar::append(&mut out, name, |out| match member.name.strip_prefix(name) {
            Some("") => plain(content, out),
            // Packages are decoded side by side, each by one thread.
            Some(".xz") => plain(Decoder::new(content, &DecodeLimits::one_thread())?, out),
            Some(_) | None => dpkg_deb(option, path, out),
        })?;
    }
    out.flush()
}

fn find<'a>(members: &'a [ArMember], name: &str) -> io::Result<&'a ArMember> {
    let found = members.iter().find(|member| {
        member.name.strip_prefix(name).is_some_and(|suffix| suffix.is_empty() || suffix.starts_with('.'))
    });
    found.ok_or_else(|| bad("the package has no control or no data archive"))
}

fn plain(mut from: impl Read, out: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        out.write_all(buffer.get(..read).unwrap_or_default())?;
    }
}

fn dpkg_deb(option: &str, path: &Path, out: &mut impl Write) -> io::Result<()> {
    let mut child = Command::new("dpkg-deb")
        .arg(option)
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let written = match child.stdout.take() {
        Some(output) => plain(output, out),
        None => Ok(()),
    };
    if child.wait()?.success() { written } else { Err(bad("dpkg-deb cannot decode the package")) }
}

fn bad(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

const CONTROL: &str = "control.tar";
const DATA: &str = "data.tar";
/// The largest control archive of Debian has about a tenth of this, most of it digests.
const CONTROL_BYTES: u64 = 64 << 20;
const VERSION_BYTES: u64 = 16;
const BUFFER_BYTES: usize = 256 << 10;

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use super::*;

    /// A package made by dpkg-deb from these files, compressed as `compression`.
    pub(in crate::bootstrap) fn build(files: &[(&str, &str)], compression: &str, to: &Path) {
        let tree = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = tree.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            let is_script = ["preinst", "postinst"].iter().any(|name| path.ends_with(format!("DEBIAN/{name}")));
            let mode = if is_script { 0o755 } else { 0o644 };
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        }
        let option = format!("-Z{compression}");
        let mut command = Command::new("dpkg-deb");
        command.args(["--root-owner-group", &option, "--uniform-compression", "--build"]);
        let output = command.arg(tree.path()).arg(to).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    const FILES: &[(&str, &str)] = &[
        (
            "DEBIAN/control",
            "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n",
        ),
        ("DEBIAN/postinst", "#!/bin/sh\n"),
        ("usr/share/x", "content"),
    ];

    #[test]
    fn every_compression_of_dpkg_is_decoded_to_the_same() {
        let directory = tempfile::tempdir().unwrap();
        for compression in ["xz", "zstd", "gzip", "none"] {
            let path = directory.path().join(compression);
            build(FILES, compression, &path);
            let mut plain =
                fs::File::options().read(true).write(true).create_new(true).open(path.with_extension("out")).unwrap();
            decode(&path, &mut plain).unwrap();
            let mut package = Package::open(plain).unwrap();
            let names: Vec<_> = package.control_files().unwrap().into_iter().map(|(name, _)| name).collect();
            assert!(names.contains(&"control".to_owned()) && names.contains(&"postinst".to_owned()), "{names:?}");
            let mut data = Vec::new();
            package.data().unwrap().read_to_end(&mut data).unwrap();
            assert!(data.windows(7).any(|window| window == b"content"), "{compression}");
        }
    }

    #[test]
    fn a_truncated_package_and_no_package_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.deb");
        build(FILES, "xz", &path);
        let good = fs::read(&path).unwrap();
        for bytes in [&good[..good.len() / 2], &good[..80], b"!<arch>\n", b"text"] {
            fs::write(&path, bytes).unwrap();
            assert!(decode(&path, &mut tempfile::tempfile().unwrap()).is_err(), "{} bytes", bytes.len());
        }
    }
}
