//! The stock template and ours, side by side: what they leave of the same input is the same.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use formats::record::BuildFile;
use testkit::FakeImage;

use crate::template::{BEGUN, IMAGE, arguments, begun};
use crate::world::{Host, Said, Server, bookworm, serial};

/// What one of the two is given.
struct Input {
    image: FakeImage,
    config: &'static str,
    /// As root of a user namespace.
    is_mapped: bool,
    /// The stock template, with these changes.
    changes: &'static [(&'static str, &'static str)],
}

impl Input {
    fn new(image: FakeImage) -> Self {
        Self { image, config: BEGUN, is_mapped: false, changes: &[] }
    }
}

/// What it left.
#[derive(Debug, PartialEq)]
struct Made {
    stdout: String,
    /// Every file by its path: mode, owner, group, and the content of a regular file.
    tree: BTreeMap<PathBuf, (u32, u32, u32, String)>,
}

impl Made {
    fn config(&self) -> String {
        self.tree[Path::new("p1/config")].3.clone()
    }
}

/// What the stock template leaves, and what ours does. Nothing, said, where there is no stock one.
fn both(input: &Input) -> Option<[Made; 2]> {
    if !rustix::process::geteuid().is_root() || !Path::new(STOCK).exists() {
        testkit::skip("only root with LXC's templates can compare with the stock one");
        return None;
    }
    let server = Server::publishing(std::slice::from_ref(&input.image));
    let host = Host::trusting(&server);
    let stock = stock_template(&host, input);
    host.template();
    let templates = [stock, host.at("lxc-download")];
    Some(templates.map(|template| {
        let _ = fs::remove_dir_all(host.at("begun"));
        begun(&host, "p1", input.config);
        let mut command = host.command(if input.is_mapped { Path::new("unshare") } else { &template });
        if input.is_mapped {
            command.args(["-U", "-r", "--"]).arg(&template).args(["--mapped-uid=0", "--mapped-gid=0"]);
        }
        let path = format!("{}:{}", host.at("bin").display(), std::env::var("PATH").unwrap());
        // What one of them has fetched is not the other's.
        let cache = template.with_extension("cache");
        command.env("PATH", path).env("LXC_CACHE_PATH", cache);
        let said = Said::of(&command.args(arguments(&host, "p1", IMAGE)).output().unwrap()).succeeds();
        Made { stdout: said.stdout, tree: tree(&host) }
    }))
}

fn tree(host: &Host) -> BTreeMap<PathBuf, (u32, u32, u32, String)> {
    let about = |path: PathBuf| {
        let known = fs::symlink_metadata(&path).unwrap();
        let content = if known.is_file() { fs::read_to_string(&path).unwrap() } else { String::new() };
        let within = path.strip_prefix(host.at("begun")).unwrap().to_owned();
        (within, (known.mode(), known.uid(), known.gid(), content))
    };
    host.tree("begun").into_iter().map(about).collect()
}

/// The stock template, whose downloads come from a directory: a stand-in for wget copies them.
fn stock_template(host: &Host, input: &Input) -> PathBuf {
    let files = host.at("stock");
    fs::create_dir_all(files.join("meta/1.0")).unwrap();
    fs::create_dir_all(files.join("images/x")).unwrap();
    fs::create_dir_all(host.at("bin")).unwrap();
    let line = format!("debian;bookworm;amd64;default;{};/images/x/\n", serial(0));
    for index in ["index-system.7", "index-user.7", "index-system.3"] {
        fs::write(files.join("meta/1.0").join(index), &line).unwrap();
    }
    for (file, content) in input.image.files() {
        if [BuildFile::RootfsTarXz, BuildFile::MetaTarXz].contains(&file) {
            fs::write(files.join("images/x").join(file.name()), content).unwrap();
        }
    }
    let wget = format!(
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do case $1 in https://*) from=${{1#https://*/}};; -O) to=$2;; esac; shift; done\n\
         exec cp {}/$from $to\n",
        files.display()
    );
    let executable = |name: &str, text: String| {
        fs::write(host.at(name), text).unwrap();
        fs::set_permissions(host.at(name), fs::Permissions::from_mode(0o755)).unwrap();
        host.at(name)
    };
    executable("bin/wget", wget);
    let stock = fs::read_to_string(STOCK).unwrap();
    let changed = input.changes.iter().fold(stock, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    executable("stock-template", changed)
}

#[track_caller]
fn assert_same(input: &Input) {
    let Some([stock, ours]) = both(input) else { return };
    assert_eq!(ours.config(), stock.config());
    assert_eq!(ours, stock);
}

/// With everything that a rootfs and metadata of a template can hold.
fn described() -> FakeImage {
    bookworm().member("create-message", "line one\n\nline two\n").member("fstab", "tmpfs run tmpfs rw 0 0\n").rootfs(
        |tree| {
            tree.file("usr/bin/su", 0o4755, "#!").file("etc/shadow", 0o640, "x").symlink("srv", "usr");
            tree.file("etc/init/tty.conf", 0o600, "exec /sbin/mingetty $TTY\n");
        },
    )
}

#[test]
fn the_result_is_that_of_the_stock_template_byte_for_byte() {
    let image = described().rootfs(|tree| {
        tree.file("srv-data", 0o600, "x").owned_by(33, 34).directory("home").owned_by(1000, 1000);
    });
    assert_same(&Input::new(image));
}

#[test]
fn the_result_in_a_user_namespace_is_that_of_the_stock_template_byte_for_byte() {
    let image = described().member("fstab-user", "none dev/shm tmpfs rw,create=dir 0 0\n");
    let input = Input { is_mapped: true, ..Input::new(image.member("excludes-user", "./usr/bin/su\n")) };
    assert_same(&input);
    let Some([_, ours]) = both(&input) else { return };
    assert!(ours.config().contains("/userns.conf"), "{}", ours.config());
    assert!(!ours.tree.contains_key(Path::new("p1/rootfs/usr/bin/su")));
}

#[test]
fn a_network_with_many_keys_is_that_of_the_stock_template_byte_for_byte() {
    assert_same(&Input {
        config: "lxc.rootfs.path = dir:DIRECTORY/rootfs\nlxc.net.0.type = veth\nlxc.idmap = u 0 100000 65536\n\
                 lxc.net.0.link = lxcbr0\nlxc.net.0.flags = up\nlxc.start.auto = 1\nlxc.net.0.hwaddr = 00:16:3e:xx:xx:xx\n\
                 lxc.net.0.ipv4.address = 10.0.3.9/24\n",
        ..Input::new(bookworm())
    });
}

#[test]
fn of_several_networks_all_lines_are_there_and_ours_stay_together() {
    let input = Input {
        config: "lxc.rootfs.path = dir:DIRECTORY/rootfs\nlxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\n\
                 lxc.net.1.type = macvlan\nlxc.net.1.link = eth1\nlxc.net.10.type = empty\n",
        ..Input::new(bookworm())
    };
    let Some([stock, ours]) = both(&input) else { return };
    let sorted = |made: &Made| {
        let config = made.config();
        let mut lines: Vec<String> = config.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&ours), sorted(&stock));
    // The stock template knows the first network alone, and leaves the others among the items.
    let (_, network) = input.config.split_once("rootfs\n").unwrap();
    assert!(ours.config().ends_with(&format!("# Network configuration\n{network}")), "{}", ours.config());
    let without_config = |made: Made| {
        let mut tree = made.tree;
        tree.remove(Path::new("p1/config"));
        (made.stdout, tree)
    };
    assert_eq!(without_config(ours), without_config(stock));
}

#[test]
fn a_configuration_of_the_old_dialect_is_that_of_the_template_of_its_time() {
    let image = described().member("config.3", "lxc.include = LXC_TEMPLATE_CONFIG/debian.common.conf\nlxc.tty = 4\n");
    assert_same(&Input {
        config: "lxc.network.type = veth\nlxc.network.link = lxcbr0\nlxc.network.flags = up\n\
                 lxc.rootfs = DIRECTORY/rootfs\nlxc.rootfs.backend = dir\n",
        // What the template of LXC 2.0 has in these lines.
        changes: &[
            ("DOWNLOAD_COMPAT_LEVEL=7", "DOWNLOAD_COMPAT_LEVEL=3"),
            ("/lxc.net.0/{w", "/lxc.network/{w"),
            ("lxc.mount.fstab =", "lxc.mount ="),
            ("lxc.uts.name =", "lxc.utsname ="),
        ],
        ..Input::new(image)
    });
}

const STOCK: &str = "/usr/share/lxc/templates/lxc-download";
