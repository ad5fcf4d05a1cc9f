//! A Debian tree with programs that are not on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Program;

/// The tree, made once and kept in the target directory.
pub(crate) struct Chroot {
    pub(crate) root: PathBuf,
}

impl Chroot {
    /// The tree `name`: `packages` of a Debian release, and whatever the script `prepare` makes of it. `None`, said on
    /// stderr, where it cannot be had.
    pub(crate) fn cached(name: &str, release: &str, packages: &str, prepare: &str) -> Option<Self> {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let lock = fs::File::create(root.with_extension("lock")).unwrap();
        lock.lock().unwrap();
        if !root.exists() {
            let partial = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let tree = Self { root: partial.path().join("root") };
            let mut bootstrap = Program::new("mmdebstrap");
            bootstrap.args(["--mode=root", "--variant=essential", "--dpkgopt=force-unsafe-io"]);
            for documents in ["doc", "locale", "man"] {
                bootstrap.arg(format!("--dpkgopt=path-exclude=/usr/share/{documents}/*"));
            }
            bootstrap.arg(format!("--include={packages}")).arg(release).arg(&tree.root);
            if !bootstrap.status().is_ok_and(|status| status.success()) {
                testkit::skip(format_args!("mmdebstrap cannot install {packages}"));
                return None;
            }
            tree.run(partial.path(), prepare);
            fs::rename(tree.root, &root).unwrap();
        }
        Some(Self { root })
    }

    /// Runs a script in the tree, with `directory` as its `/mnt`, and returns what it prints. Mounts and processes are
    /// in namespaces of their own.
    pub(crate) fn run(&self, directory: &Path, script: &str) -> String {
        let mut program = Program::new("unshare");
        program.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]);
        program.args(["sh", "-eu", "-c", ENTER, "sh"]).arg(&self.root).arg(directory).arg(script);
        let output = program.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Makes the tree a mount, which distrobuilder needs, and enters it.
const ENTER: &str = "mount --bind \"$1\" \"$1\"\n\
                     mount -t proc proc \"$1/proc\"\n\
                     mount -t sysfs sysfs \"$1/sys\"\n\
                     mount -t tmpfs tmpfs \"$1/dev\"\n\
                     mount -t tmpfs tmpfs \"$1/tmp\"\n\
                     for node in null:3 zero:5 full:7 random:8 urandom:9; do\n\
                     \x20   mknod -m 666 \"$1/dev/${node%:*}\" c 1 \"${node#*:}\"\n\
                     done\n\
                     ln -s /proc/self/fd \"$1/dev/fd\"\n\
                     mount --bind \"$2\" \"$1/mnt\"\n\
                     exec chroot \"$1\" /bin/sh -eu -c \"$3\"\n";
