//! What the tests of this program share.

pub(crate) mod chroot;
pub(crate) mod user;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::atomic::{AtomicU32, Ordering};

use assert_cmd::Command;
use assert_cmd::assert::Assert;

/// The program, without anything in the environment that could change what it does.
pub(crate) fn builder() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootcellar-builder"));
    for name in ["SOURCE_DATE_EPOCH", "ROOTCELLAR_OUTPUT", "ROOTCELLAR_BUILDER_CACHE", "ROOTCELLAR_MIRROR"] {
        command.env_remove(name);
    }
    command
}

/// stdout and stderr as text.
pub(crate) fn output_of(assert: &Assert) -> (String, String) {
    let output = assert.get_output();
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Whether this process is root; says so when it is not, because then the test proves nothing.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        testkit::skip("building needs root");
    }
    root
}

/// A place for builds from an archive that holds a static busybox and little else.
pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    /// How many seconds the scripts of this world sleep: a number of its own, so that survivors are found.
    pub(crate) mark: String,
}

impl World {
    /// `None`, said on stderr, where there is no root or no busybox.
    pub(crate) fn new() -> Option<Self> {
        if !is_root() {
            return None;
        }
        let Some(busybox) = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists())
        else {
            testkit::skip("no busybox: install the package `busybox-static`");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("source");
        for name in ["bin", "etc", "usr/sbin", "sbin", "mnt"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::copy(busybox, root.join("bin/busybox")).unwrap();
        for applet in
            ["sh", "cat", "ls", "sleep", "mount", "umount", "mkdir", "env", "chown", "mv", "rm", "true", "ps", "echo"]
        {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        fs::write(root.join("etc/hostname"), "buildhost\n").unwrap();
        fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
        fs::write(root.join("etc/resolv.conf"), "nameserver 192.0.2.1\n").unwrap();
        let done = Program::new("tar").args(["-C", "source", "-cf", "root.tar", "."]).current_dir(&directory).status();
        assert!(done.unwrap().success());
        let mark = format!("1{:07}{:02}", std::process::id(), WORLDS.fetch_add(1, Ordering::Relaxed));
        Some(Self { directory, mark })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts more files into the archive.
    pub(crate) fn with_files<'a>(self, files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        for (path, content) in files {
            let path = self.path("source").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let done =
            Program::new("tar").args(["-C", "source", "-cf", "root.tar", "."]).current_dir(&self.directory).status();
        assert!(done.unwrap().success());
        self
    }

    /// Writes a spec that starts from the archive and goes on with `text`.
    pub(crate) fn spec(&self, text: &str) -> PathBuf {
        let path = self.path("spec.yaml");
        let archive = self.path("root.tar");
        let head = format!(
            "image: {{distribution: test, release: 1.0, architecture: amd64}}\n\
             source: {{downloader: rootfs-http, url: 'file://{}'}}\n\
             targets: {{lxc: {{create_message: made, config: [{{type: all, content: lxc.include = x}}]}}}}\n\
             packages: {{custom_manager: {{clean: {{cmd: true}}, install: {{cmd: true}}, remove: {{cmd: true}}, \
             refresh: {{cmd: true}}, update: {{cmd: true}}}}}}\n",
            archive.display()
        );
        fs::write(&path, head + text).unwrap();
        path
    }

    /// `build` with what every test wants.
    pub(crate) fn build(&self, spec: &Path) -> Command {
        self.build_as(spec, "lxc")
    }

    /// The same in other formats.
    pub(crate) fn build_as(&self, spec: &Path, formats: &str) -> Command {
        let mut command = builder();
        command.arg("build").arg(spec).arg("--output").arg(self.path("out")).arg("--no-cache");
        command.args(["--formats", formats, "--xz-level", "0", "--serial", "20261123_0522"]);
        command
    }

    /// The build directory of a successful build.
    pub(crate) fn built(&self) -> PathBuf {
        self.path("out/test/1.0/amd64/default/20261123_0522")
    }

    /// The tree of a successful build, unpacked.
    pub(crate) fn unpacked(&self) -> PathBuf {
        let tree = self.path("unpacked");
        fs::create_dir(&tree).unwrap();
        let archive = self.built().join("rootfs.tar.xz");
        let done = Program::new("tar").arg("-xJf").arg(archive).arg("-C").arg(&tree).status();
        assert!(done.unwrap().success());
        tree
    }

    /// What failed builds have kept.
    pub(crate) fn kept(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path("out/test/1.0/amd64/default")) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with('.')).collect()
    }

    /// Everything on this machine that mentions the place or the mark of this test: mounts, loop devices and processes.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let place = self.directory.path().display().to_string();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mut found: Vec<String> = mounts.lines().filter(|line| line.contains(&place)).map(str::to_owned).collect();
        for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
            let file = fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
            found.extend(file.contains(&place).then(|| format!("{} of {file}", entry.file_name().display())));
        }
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&command).contains(&self.mark) {
                found.push(format!("process {}", entry.file_name().display()));
            }
        }
        found
    }
}

/// How many worlds this process has made.
static WORLDS: AtomicU32 = AtomicU32::new(0);
