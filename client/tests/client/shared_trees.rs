//! Containers share the tree of their image, and nothing that one of them changes is seen in another.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use formats::record::BuildFile;
use testkit::FakeImage;

use crate::world::{Claims, Host, Said, Server, bookworm, is_root, serial};

const BASES: &str = "containers/.rootcellar/v1";

fn image() -> FakeImage {
    bookworm().file("srv/big", vec![b'x'; 1 << 20]).rootfs(|tree| {
        tree.file("usr/su", 0o4755, "#!").owned_by(7, 8);
    })
}

/// The root file system of a container as it shows inside, mounted in a namespace of its own, by a shell script.
fn inside(host: &Host, name: &str, script: &str) -> Said {
    let container = host.at("containers").join(name);
    let config = fs::read_to_string(container.join("config")).unwrap();
    let path = config.lines().find_map(|line| line.strip_prefix("lxc.rootfs.path = overlay:")).unwrap();
    let (lower, upper) = path.split_once(':').unwrap();
    let work = container.join("overlay/work");
    let mount = format!(
        "mount -t overlay overlay -o lowerdir={lower},upperdir={upper},workdir={} /mnt && cd /mnt && {script}",
        work.display()
    );
    let mut command = Command::new("unshare");
    Said::of(&command.args(["-m", "--propagation", "private", "sh", "-c", &mount]).output().unwrap())
}

/// The directories of bases.
fn bases(host: &Host) -> Vec<PathBuf> {
    let entries = fs::read_dir(host.at(BASES)).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

#[test]
fn a_clone_has_its_own_name_and_shares_everything_else() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let host = Host::trusting(&server);
    for name in ["one", "two"] {
        host.run(&format!("create --snapshot {name} debian/12")).succeeds();
        let said =
            inside(&host, name, "cat etc/hostname etc/hosts; stat -c '%a %u %g' usr/su; wc -c <srv/big").succeeds();
        let hosts = format!("{name}\n127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n4755 7 8\n{}\n", 1 << 20);
        assert_eq!(said.stdout, hosts);
        let delta = host.tree(&format!("containers/{name}/overlay/delta"));
        let changed: Vec<&Path> = delta.iter().filter(|path| path.is_file()).map(PathBuf::as_path).collect();
        assert_eq!(changed.len(), 2, "only the templates were copied: {changed:?}");
    }
    assert_eq!((bases(&host).len(), server.requests("rootfs.tar.xz")), (1, 1));
    inside(&host, "one", "echo changed >srv/big && rm usr/su").succeeds();
    assert_eq!(inside(&host, "two", "wc -c <srv/big; ls usr/su").succeeds().stdout, format!("{}\nusr/su\n", 1 << 20));
}

#[test]
fn nothing_is_read_of_archives_once_there_is_a_tree() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let host = Host::trusting(&server);
    host.run("create --snapshot one debian/12").succeeds();
    for path in host.tree("cache/v1/blobs").iter().filter(|path| path.is_file()) {
        if fs::metadata(path).unwrap().len() > 4096 {
            fs::remove_file(path).unwrap();
        }
    }
    assert!(
        !host.cached(&image(), BuildFile::RootfsTarXz).exists()
            || image().files()[&BuildFile::RootfsTarXz].len() < 4096
    );
    host.run("create --snapshot two debian/12 --offline").succeeds();
    assert_eq!(inside(&host, "two", "cat etc/hostname").succeeds().stdout, "two\n");
}

#[test]
fn a_set_id_program_of_a_tree_can_be_reached_by_nobody_else() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let host = Host::trusting(&server);
    host.run("create --snapshot one debian/12").succeeds();
    let base = bases(&host).remove(0);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&base), fs::metadata(&base).unwrap().uid()), (0o770, 0));
    assert_eq!((mode(&host.at("containers/.rootcellar")), mode(&host.at(BASES))), (0o711, 0o711));
}

#[test]
fn a_tree_goes_when_nobody_stands_on_it_and_its_image_is_not_the_newest() {
    if !is_root() {
        return;
    }
    let mut server = Server::publishing(&[image().serial(&serial(60))]);
    let host = Host::trusting(&server);
    host.run("create --snapshot one debian/12").succeeds();
    host.run("cache prune").succeeds();
    assert_eq!(bases(&host).len(), 1, "its build is the newest one known");
    server.add(image().file("srv/newer", "x"), Claims::fresh(5));
    host.run("fetch debian/12").succeeds();
    host.run("cache prune").succeeds();
    assert_eq!(bases(&host).len(), 1, "a container stands on it");
    assert_eq!(inside(&host, "one", "cat etc/hostname").succeeds().stdout, "one\n");
    host.run("destroy one").succeeds();
    let said = host.run("cache prune").succeeds();
    assert!(said.stderr.contains("Removed 1 trees"), "{}", said.stderr);
    assert!(bases(&host).is_empty());
    host.run("create --snapshot two debian/12").succeeds();
    assert_eq!(inside(&host, "two", "ls srv").succeeds().stdout, "big\nnewer\n");
}

#[test]
fn what_an_image_asks_for_is_refused_before_a_tree_is_made() {
    if !is_root() {
        return;
    }
    let evil = image().member("config", "lxc.arch = linux64\nlxc.hook.start = /bin/true\n");
    let server = Server::publishing(&[evil]);
    let host = Host::trusting(&server);
    host.run("create --snapshot web1 debian/12").refuses("sets `lxc.hook.start` to `/bin/true`");
    assert!(bases(&host).is_empty() && !host.at("containers/web1").exists());
    let mut altered = server.get(&crate::world::path_of(&image(), BuildFile::RootfsTarXz));
    *altered.last_mut().unwrap() ^= 1;
    server.put(&crate::world::path_of(&image(), BuildFile::RootfsTarXz), altered);
    host.run("create --snapshot web1 debian/12 --allow-config-key lxc.hook.start").refuses("sha256");
    assert!(bases(&host).is_empty() && !host.at("containers/web1").exists());
}

#[test]
fn templates_that_lead_out_of_a_tree_change_nothing_there_or_outside() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    fs::write(host.at("secret"), "LXC_NAME").unwrap();
    let secret = host.at("secret").display().to_string();
    let hostile = bookworm().member("templates", "/etc/absolute\n../../../secret\n/dev\n/etc/hosts\n").rootfs(|tree| {
        tree.symlink("etc/absolute", &secret);
    });
    let server = Server::publishing(&[hostile]);
    host.trust(&server);
    host.run("create --snapshot web1 debian/12").succeeds();
    assert_eq!(fs::read_to_string(host.at("secret")).unwrap(), "LXC_NAME");
    assert!(fs::read_to_string(bases(&host)[0].join("rootfs/etc/hosts")).unwrap().contains("LXC_NAME"));
}

#[test]
fn many_at_once_make_one_download_and_one_tree() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let host = Host::trusting(&server);
    let create = |number| host.rootcellar(&format!("create --snapshot c{number} debian/12"));
    let children: Vec<Child> =
        (0..16).map(|number| create(number).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()).collect();
    for child in children {
        Said::of(&child.wait_with_output().unwrap()).succeeds();
    }
    assert_eq!((server.requests("rootfs.tar.xz"), bases(&host).len()), (1, 1));
    let clones = fs::read_to_string(bases(&host)[0].join("lxc_snapshots")).unwrap();
    assert_eq!(clones.lines().count(), 32, "two lines for each: {clones}");
}

#[test]
fn a_killed_create_leaves_no_half_of_a_tree() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    for milliseconds in [0, 10, 20, 30, 40, 60, 90] {
        let host = Host::trusting(&server);
        let mut child = host.rootcellar("-q create --snapshot web1 debian/12").spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        if !host.at("containers/web1").exists() {
            host.run("create --snapshot web1 debian/12").succeeds();
        }
        let said = inside(&host, "web1", "cat etc/hostname; wc -c <srv/big").succeeds();
        assert_eq!(said.stdout, format!("web1\n{}\n", 1 << 20));
        host.run("destroy web1").succeeds();
    }
}

#[test]
fn containers_with_mapped_ids_have_trees_of_their_own() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let host = Host::trusting(&server);
    fs::set_permissions(host.at(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(host.at("mapped.conf"), "lxc.idmap = u 0 3200000 65536\nlxc.idmap = g 0 3200000 65536\n").unwrap();
    host.run("create --snapshot plain debian/12").succeeds();
    host.run(&format!("create --snapshot mapped debian/12 --config {}", host.at("mapped.conf").display())).succeeds();
    assert_eq!(bases(&host).len(), 2);
    let config = fs::read_to_string(host.at("containers/mapped/config")).unwrap();
    assert!(config.contains("lxc.rootfs.options = userxattr"), "{config}");
    let hostname = host.at("containers/mapped/overlay/delta/etc/hostname");
    assert_eq!(fs::read_to_string(&hostname).unwrap(), "mapped\n");
    assert_eq!(fs::metadata(&hostname).unwrap().uid(), 3_200_000);
    for name in ["mapped", "plain"] {
        host.run(&format!("destroy {name}")).succeeds();
    }
    host.run("cache prune --all").succeeds();
    assert!(bases(&host).is_empty());
}

/// A file system of btrfs in a file. It is unmounted with this value.
struct Btrfs {
    target: PathBuf,
    _image: tempfile::NamedTempFile,
}

impl Btrfs {
    fn or_skip(target: &Path) -> Option<Self> {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(200 << 20).unwrap();
        let made = Command::new("mkfs.btrfs").arg("-q").arg(image.path()).output();
        if !made.is_ok_and(|made| made.status.success()) {
            testkit::skip("there is no mkfs.btrfs: apt install btrfs-progs");
            return None;
        }
        fs::create_dir_all(target).unwrap();
        let mounted = Command::new("mount").args(["-o", "loop"]).arg(image.path()).arg(target).output().unwrap();
        if !mounted.status.success() {
            testkit::skip("the kernel mounts no btrfs here");
            return None;
        }
        Some(Self { target: target.to_owned(), _image: image })
    }
}

impl Drop for Btrfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.target).status();
    }
}

#[test]
fn on_btrfs_every_create_of_root_is_a_snapshot_that_needs_no_tree_afterwards() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let host = Host::trusting(&server);
    let Some(_disk) = Btrfs::or_skip(&host.at("containers")) else { return };
    for name in ["one", "two"] {
        host.run(&format!("create {name} debian/12")).succeeds();
        let rootfs = host.at(&format!("containers/{name}/rootfs"));
        let shown = Command::new("btrfs").args(["subvolume", "show"]).arg(rootfs).output().unwrap();
        assert!(shown.status.success(), "{name} is no subvolume");
        let hostname = fs::read_to_string(host.at(&format!("containers/{name}/rootfs/etc/hostname"))).unwrap();
        assert_eq!(hostname, format!("{name}\n"));
        let config = fs::read_to_string(host.at(&format!("containers/{name}/config"))).unwrap();
        assert!(config.contains("lxc.rootfs.path = dir:"), "{config}");
    }
    assert_eq!(bases(&host).len(), 1);
    let base = fs::read_to_string(bases(&host)[0].join("rootfs/etc/hostname")).unwrap();
    assert_eq!(base, "LXC_NAME\n", "what one container is called is not seen in the tree");
    host.run("cache prune --all").succeeds();
    assert!(bases(&host).is_empty(), "no container needs it");
    assert_eq!(fs::read_to_string(host.at("containers/two/rootfs/etc/hostname")).unwrap(), "two\n");
    for name in ["one", "two"] {
        host.run(&format!("destroy {name}")).succeeds();
    }
}
