//! A plain user's containers share the files of their image on every file system that people choose for that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::user::TestUser;
use crate::support::{Program, TestServer, debian_build, need, program};
use crate::unprivileged::in_own_control_groups;

/// A file system in a file. It is unmounted with this value.
struct Disk {
    place: PathBuf,
    _image: tempfile::NamedTempFile,
}

impl Disk {
    /// Mounted, or why not.
    fn mount(kind: &str, place: &Path) -> Result<Self, String> {
        let image = tempfile::NamedTempFile::new_in("/var/tmp").unwrap();
        image.as_file().set_len(2 << 30).unwrap();
        let tool = format!("mkfs.{kind}");
        let made = Command::new(&tool).arg("-q").arg(image.path()).output();
        if !made.is_ok_and(|made| made.status.success()) {
            return Err(format!("there is no {tool}"));
        }
        fs::create_dir_all(place).unwrap();
        let mounted = Command::new("mount").args(["-o", "loop"]).arg(image.path()).arg(place).output().unwrap();
        if !mounted.status.success() {
            return Err(format!("the kernel mounts no {kind} here"));
        }
        Ok(Self { place: place.to_owned(), _image: image })
    }

    fn used_bytes(&self) -> u64 {
        Command::new("sync").arg("-f").arg(&self.place).status().unwrap();
        let stat = rustix::fs::statvfs(&self.place).unwrap();
        (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.place).status();
    }
}

#[test]
fn a_plain_users_snapshots_on_btrfs_and_on_xfs_share_their_files_and_run() {
    need!(root, "mmdebstrap", "newuidmap", "runuser");
    let server = TestServer::publishing(&[&debian_build()]);
    for kind in ["btrfs", "xfs"] {
        let user = TestUser::new(kind);
        user.write(".local/share/lxc/.begun", "");
        let containers = user.home().join(".local/share/lxc");
        let disk = match Disk::mount(kind, &containers) {
            Ok(disk) => disk,
            Err(reason) => {
                testkit::skip(reason);
                continue;
            }
        };
        Program::new("chown").arg(format!("{}:", user.name())).arg(&containers).run().succeeds();
        fs::copy(program::ours("rootcellar"), user.home().join("rootcellar")).unwrap();
        user.write("ca.pem", &fs::read_to_string(server.ca()).unwrap());
        let rootcellar = user.home().join("rootcellar").display().to_string();
        let remote = format!("{} --fingerprint {} --ca ca.pem", server.url, server.fingerprint());
        user.sh(&format!("{rootcellar} remote add default {remote}")).succeeds();
        user.sh(&format!("{rootcellar} create --snapshot one debian/bookworm")).succeeds();
        let before = disk.used_bytes();
        user.sh(&format!("{rootcellar} create --snapshot two debian/bookworm")).succeeds();
        let grown = disk.used_bytes() - before;
        assert!(grown < 4 << 20, "{kind}: another container takes {grown} bytes");
        let config = fs::read_to_string(containers.join("two/config")).unwrap();
        assert!(config.contains("lxc.rootfs.path = overlay:"), "{kind}: {config}");

        let started = in_own_control_groups(&user, &format!("{rootcellar} start two -- /bin/sleep 1000"));
        let said = user.sh(&format!("{rootcellar} exec two -- sh -c 'cat /etc/hostname; echo x >/etc/changed'"));
        let ended = user.sh(&format!("{rootcellar} stop -k two; {rootcellar} destroy two && {rootcellar} destroy one"));
        started.succeeds();
        assert_eq!(said.succeeds(), "two\n", "{kind}");
        ended.succeeds();
        assert!(!containers.join("one").exists() && !containers.join("two").exists(), "{kind}");
    }
}
