//! The image specs of this project give images that start and stop under LXC.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Output};
use std::time::{Duration, Instant};

use crate::common::{builder, is_root, output_of};

/// Whether everything is there that a test of real images needs; says what is not.
fn may_run() -> bool {
    if std::env::var_os("ROOTCELLAR_TEST_NETWORK").is_none() {
        testkit::skip("downloads Debian packages only with ROOTCELLAR_TEST_NETWORK=1");
        return false;
    }
    for program in ["mmdebstrap", "lxc-create"] {
        if Program::new(program).arg("--version").output().is_err() {
            testkit::skip(format_args!("no {program}"));
            return false;
        }
    }
    is_root()
}

/// Builds an image of a spec and returns the build directory.
fn build(spec: &str, options: &[&str], output: &Path) -> PathBuf {
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../image-specs").join(spec);
    let mut command = builder();
    command.arg("build").arg(spec).args(["--formats", "lxc", "--xz-level", "0"]).arg("--output").arg(output);
    command.arg("--cache").arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("images-cache"));
    // The public mirror of sid can stand still for weeks.
    command.args(options.contains(&"image.release=sid").then_some("--accept-expired-lists"));
    command.args(["-o", "image.architecture=amd64"]).args(options.iter().flat_map(|option| ["-o", option]));
    PathBuf::from(output_of(&command.assert().success()).0.trim_end())
}

/// A container of real LXC. It is stopped and destroyed with this value.
struct Container {
    path: PathBuf,
    name: String,
}

impl Container {
    /// A container of a build, without a network.
    fn create(build: &Path, directory: &Path, name: &str) -> Self {
        let container = Self { path: directory.join("lxc"), name: name.to_owned() };
        fs::create_dir_all(&container.path).unwrap();
        let config = directory.join("default.conf");
        fs::write(&config, "lxc.net.0.type = empty\n").unwrap();
        let mut create = container.lxc("lxc-create");
        create.args(["-t", "local", "-f"]).arg(config).arg("--");
        create.arg("--metadata").arg(build.join("meta.tar.xz")).arg("--fstree").arg(build.join("rootfs.tar.xz"));
        succeeds(create);
        container
    }

    fn start(&self) {
        succeeds(self.lxc("lxc-start"));
    }

    /// Waits until a command in the container prints `expected`.
    fn waits_for(&self, command: &[&str], expected: &str) {
        let patience = Instant::now() + Duration::from_mins(3);
        loop {
            let output = self.attach(command);
            if String::from_utf8_lossy(&output.stdout).trim() == expected {
                return;
            }
            if Instant::now() > patience {
                let failed = self.attach(&["systemctl", "--failed", "--no-pager"]);
                panic!("{}: no `{expected}`: {output:?} {failed:?}", self.name);
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn attach(&self, command: &[&str]) -> Output {
        self.lxc("lxc-attach").arg("--").args(command).output().unwrap()
    }

    /// Stops it as an administrator would: its init must end by itself.
    fn stops(&self) {
        let mut stop = self.lxc("lxc-stop");
        stop.args(["-t", "90", "--nokill"]);
        succeeds(stop);
        let mut info = self.lxc("lxc-info");
        info.args(["-s", "-H"]);
        assert_eq!(succeeds(info).trim(), "STOPPED");
    }

    fn lxc(&self, program: &str) -> Program {
        let mut command = Program::new(program);
        command.arg("-P").arg(&self.path).args(["-n", &self.name]);
        command
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.lxc("lxc-stop").arg("-k").output());
        drop(self.lxc("lxc-destroy").output());
    }
}

fn succeeds(mut command: Program) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn busybox_starts_knows_its_name_and_stops() {
    if !may_run() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let build = build("busybox.yaml", &[], directory.path());
    let size = fs::metadata(build.join("rootfs.tar.xz")).unwrap().len();
    assert!(size < 4 << 20, "more than busybox is in it: {size} bytes");
    let container = Container::create(&build, directory.path(), &format!("busybox-{}", std::process::id()));
    container.start();
    container.waits_for(&["hostname"], &container.name);
    let processes = container.attach(&["ps"]);
    assert!(String::from_utf8_lossy(&processes.stdout).contains("1 root     init"), "{processes:?}");
    container.stops();
}

/// Builds an image of Debian, boots it, looks around and shuts it down.
fn boots(release: &str, variant: &str) {
    let directory = tempfile::tempdir().unwrap();
    let options = [format!("image.release={release}"), format!("image.variant={variant}")];
    let build = build("debian.yaml", &options.each_ref().map(String::as_str), directory.path());
    let name = format!("{release}-{variant}-{}", std::process::id());
    let container = Container::create(&build, directory.path(), &name);
    let keys = fs::read_dir(container.path.join(&container.name).join("rootfs/etc/ssh"));
    let mut keys = keys.into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(keys.all(|name| !name.starts_with("ssh_host_")), "the image has host keys");
    container.start();
    container.waits_for(&["systemctl", "is-system-running"], "running");
    container.waits_for(&["hostname"], &container.name);
    let machine_id = container.attach(&["cat", "/etc/machine-id"]).stdout;
    assert_eq!(machine_id.trim_ascii().len(), 32, "it made no identity of its own");
    assert_eq!(container.attach(&["cloud-init", "--version"]).status.success(), variant == "cloud");
    container.stops();
}

#[test]
fn debian_boots_and_shuts_down() {
    if may_run() {
        boots("trixie", "default");
    }
}

#[test]
fn every_release_of_debian_boots_and_shuts_down() {
    if std::env::var_os("ROOTCELLAR_TEST_ALL_RELEASES").is_none() {
        testkit::skip("builds and boots six images of Debian only with ROOTCELLAR_TEST_ALL_RELEASES=1");
        return;
    }
    if !may_run() {
        return;
    }
    for release in ["bookworm", "trixie", "sid"] {
        for variant in ["default", "cloud"] {
            boots(release, variant);
        }
    }
}
