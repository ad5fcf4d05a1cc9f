//! Whatever a signed image holds, the host around the container stays as it was: its key may be in the wrong hands.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use formats::digest::FileDigest;
use testkit::{EntryType, FakeImage, FakeRootfs};

use crate::template::{BEGUN, IMAGE, arguments, begun};
use crate::world::{Claims, Host, Said, Server, bookworm, is_root};

/// What becomes of a hostile image.
enum Fate {
    /// It is refused, with these words, and no container is left.
    Refused(&'static str),
    /// It makes a container, and what it tried ended inside.
    Contained,
}

use Fate::{Contained, Refused};

fn rootfs(tell: impl FnOnce(&mut FakeRootfs)) -> FakeImage {
    bookworm().rootfs(tell)
}

fn metadata(kind: EntryType, name: &str, target: &str, content: &str) -> FakeImage {
    let image = bookworm().without_member(name);
    image.metadata_lie(|lies| {
        lies.lie(kind, name, target, content.as_bytes());
    })
}

/// Every image by the name of its lie. `host` is a directory of the host with a file `secret` in it.
fn corpus(host: &str) -> Vec<Lie> {
    [lies_of_metadata(host), lies_of_trees(host), lies_of_settings(host)].into_iter().flatten().collect()
}

/// Members of the LXC metadata that the stock template would follow or write through.
fn lies_of_metadata(host: &str) -> Vec<Lie> {
    let secret = &format!("{host}/secret");
    vec![
        ("metadata with a link for its config", metadata(EntryType::Symlink, "config", secret, ""), Refused("config")),
        (
            "metadata with a link for its message",
            metadata(EntryType::Symlink, "create-message", secret, ""),
            Refused("create-message"),
        ),
        (
            "metadata with a hard link for its templates",
            metadata(EntryType::Link, "templates", secret, ""),
            Refused("is not a path inside"),
        ),
        (
            "metadata with a link where the stock template writes",
            metadata(EntryType::Symlink, "build_id", secret, ""),
            Refused("build_id"),
        ),
        ("metadata with a build id", metadata(EntryType::Regular, "build_id", "", "x\n"), Refused("build_id")),
        ("metadata with a rootfs", metadata(EntryType::Regular, "rootfs.tar.xz", "", "x"), Refused("rootfs.tar.xz")),
        ("metadata with a device", metadata(EntryType::Char, "expiry", "", ""), Refused("expiry")),
        ("metadata with a way out", metadata(EntryType::Regular, "../config", "", "x"), Refused("../config")),
        (
            "metadata with two configs",
            bookworm().metadata_lie(|lies| {
                lies.lie(EntryType::Regular, "config", "", b"lxc.hook.start = /bin/true\n");
            }),
            Refused("config"),
        ),
    ]
}

/// Members of the rootfs.
fn lies_of_trees(host: &str) -> Vec<Lie> {
    let (secret, up) = (&format!("{host}/secret"), "../../../host");
    let pax = |record: &str| format!("{} {record}\n", record.len() + record.len().to_string().len() + 2);
    vec![
        (
            "a member with two dots",
            rootfs(|tree| {
                tree.lie(EntryType::Regular, &format!("{up}/secret"), "", b"evil");
            }),
            Refused(".."),
        ),
        (
            "a member with a root",
            rootfs(|tree| {
                tree.lie(EntryType::Regular, secret, "", b"evil");
            }),
            Refused("secret"),
        ),
        (
            "two dots in an extended header",
            rootfs(|tree| {
                let record = pax(&format!("path={up}/secret"));
                tree.lie(EntryType::XHeader, "pax", "", record.as_bytes()).lie(EntryType::Regular, "x", "", b"evil");
            }),
            Refused(".."),
        ),
        (
            "a file through a link of the image",
            rootfs(|tree| {
                tree.symlink("srv", host).file("srv/secret", 0o644, "evil");
            }),
            Refused("no directory"),
        ),
        (
            "a hard link to the outside",
            rootfs(|tree| {
                tree.lie(EntryType::Link, "./srv", &format!("{up}/secret"), b"");
            }),
            Refused("is not a path inside of the archive"),
        ),
        (
            "a hard link through a link of the image",
            rootfs(|tree| {
                tree.symlink("srv", host).lie(EntryType::Link, "./stolen", "srv/secret", b"");
            }),
            Refused("which is behind a symbolic link"),
        ),
        (
            "the device directory is a directory of the host",
            rootfs(|tree| {
                tree.lie(EntryType::Symlink, "./dev", host, b"");
            }),
            Refused("cannot prepare `dev/pts`"),
        ),
        (
            "the device directory is one of the host's by name, and the image has it too",
            rootfs(|tree| {
                tree.directory(host.trim_start_matches('/')).lie(EntryType::Symlink, "./dev", host, b"");
            }),
            Contained,
        ),
        (
            "setuid programs, devices and a name that is no text",
            rootfs(|tree| {
                tree.file("usr/su", 0o6755, "#!").device("srv-mem", 1, 1).lie_bytes(b"./caf\xe9", b"latin");
            }),
            Contained,
        ),
        (
            "a file said to be larger than the archive",
            rootfs(|tree| {
                let record = pax("size=99999999999");
                tree.lie(EntryType::XHeader, "pax", "", record.as_bytes()).lie(EntryType::Regular, "x", "", b"x");
            }),
            Refused("more unpacked bytes than the limit"),
        ),
        (
            "a hole beyond all limits",
            rootfs(|tree| {
                let records = [pax("GNU.sparse.map=0,1"), pax("GNU.sparse.size=99999999999999")].concat();
                tree.lie(EntryType::XHeader, "pax", "", records.as_bytes()).lie(EntryType::Regular, "x", "", b"x");
            }),
            Refused("more unpacked bytes than the limit"),
        ),
    ]
}

/// Well-formed metadata that asks for too much.
fn lies_of_settings(host: &str) -> Vec<Lie> {
    let (secret, up) = (&format!("{host}/secret"), "../../../host");
    let templates = format!("/etc/absolute\n/etc/relative\n{up}/secret\n/{host}/secret\n/dev\n/etc/loop\n");
    vec![
        (
            "templates that lead to the host",
            bookworm().member("templates", templates).rootfs(|tree| {
                tree.symlink("etc/absolute", secret).symlink("etc/relative", &format!("../{up}/secret"));
                tree.symlink("etc/loop", "loop").symlink("etc/init", host);
            }),
            Contained,
        ),
        (
            "terminal escapes and bidirectional text in what it says",
            bookworm().member("create-message", "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}txt\n"),
            Contained,
        ),
        ("a config that runs a program", bookworm().member("config", "lxc.hook.start = /bin/sh\n"), Refused("hook")),
        (
            "a config that reads the host",
            bookworm().member("config", format!("lxc.include = {secret}\n")),
            Refused("includes"),
        ),
        (
            "an fstab that shows the host",
            bookworm().member("fstab", format!("{host} srv none bind 0 0\n")),
            Refused("shows a part of the host"),
        ),
        (
            "an fstab whose fields end where only some readers see it",
            bookworm().member("fstab", format!("{host} srv\rtmpfs none bind 0 0\n")),
            Refused("foreign blank"),
        ),
        (
            "a mount with an option that liblxc takes for another",
            bookworm().member("config", format!("lxc.mount.entry = {host} srv tmpfs bindx 0 0\n")),
            Refused("shows a part of the host"),
        ),
        (
            "a file longer than the longest allowed template",
            bookworm().member("templates", "/srv/large\n").file("srv/large", vec![b'x'; 5 << 20]),
            Refused("is larger than 4194304 bytes"),
        ),
    ]
}

type Lie = (&'static str, FakeImage, Fate);

/// Everything about the files of the host that an image could have changed.
fn outside(host: &Host) -> Vec<(std::path::PathBuf, [u64; 5], Vec<u8>)> {
    let about = |path: std::path::PathBuf| {
        let known = fs::symlink_metadata(&path).unwrap();
        let mode = u64::from(known.mode());
        let content = if known.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        (path, [mode, u64::from(known.uid()), known.nlink(), known.ino(), known.mtime().unsigned_abs()], content)
    };
    host.tree("host").into_iter().chain([host.at("host")]).map(about).collect()
}

#[test]
fn no_image_of_the_corpus_changes_or_shows_anything_of_the_host() {
    if !is_root() {
        return;
    }
    for (number, (lie, image, fate)) in corpus("/HOST").into_iter().enumerate() {
        drop((image, fate));
        let host = Host::new();
        fs::create_dir(host.at("host")).unwrap();
        fs::write(host.at("host/secret"), "LXC_NAME mingetty, a secret of the host").unwrap();
        fs::write(host.at("host/tty.conf"), "mingetty").unwrap();
        symlink("secret", host.at("host/link")).unwrap();
        let (_, image, fate) = corpus(&host.at("host").display().to_string()).swap_remove(number);
        let server = Server::publishing(&[image]);
        host.trust(&server);
        let before = outside(&host);
        begun(&host, "t", BEGUN);
        let created = host.run("create c debian/12");
        let filled = Said::of(&host.template().args(arguments(&host, "t", IMAGE)).output().unwrap());
        for said in [&created, &filled] {
            match fate {
                Contained => assert_eq!(said.code, 0, "{lie}: {}", said.stderr),
                Refused(words) => {
                    assert_eq!(said.code, 1, "{lie}: {}{}", said.stdout, said.stderr);
                    assert!(said.stderr.contains(words), "{lie}: {}", said.stderr);
                }
            }
            let text = format!("{}{}", said.stdout, said.stderr);
            assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']) && !text.contains("a secret"), "{lie}: {text}");
        }
        if matches!(fate, Refused(_)) {
            assert!(host.tree("containers").is_empty(), "{lie}: {:?}", host.tree("containers"));
            let config = fs::read_to_string(host.at("begun/t/config")).unwrap();
            assert!(!config.contains("lxc.uts.name"), "{lie}: {config}");
        }
        for path in host.tree("containers").iter().chain(&host.tree("begun")).filter(|path| path.is_file()) {
            let inside = fs::symlink_metadata(path).unwrap();
            if inside.is_file() {
                let content = fs::read(path).unwrap();
                assert!(!content.windows(8).any(|word| word == b"a secret"), "{lie}: {}", path.display());
            }
        }
        assert_eq!(outside(&host), before, "{lie}");
    }
}

#[test]
fn an_archive_longer_than_the_signed_documents_say_fills_no_disk() {
    if !is_root() {
        return;
    }
    // A hundred megabytes in a file of some kilobytes.
    let mut server = Server::publishing(&[bookworm().file("srv/zeros", vec![0; 100 << 20])]);
    server.said_of_tars = Some(FileDigest { size_bytes: 1 << 20, ..FileDigest::of(b"bomb") });
    server.publish(Claims::fresh(5));
    let host = Host::trusting(&server);
    let used = |host: &Host| {
        let files = ["containers", "begun", "cache"].map(|below| host.tree(below)).concat();
        files.iter().map(|file| 512 * fs::symlink_metadata(file).unwrap().blocks()).sum::<u64>()
    };
    begun(&host, "t", BEGUN);
    let words = "it is longer than the 1048576 bytes that the signed documents say";
    host.run("create c debian/12").refuses(words);
    assert!(host.tree("containers").is_empty(), "{:?}", host.tree("containers"));
    host.run("create c debian/12 --snapshot").refuses(words);
    host.run("cache warm debian/12").refuses(words);
    Said::of(&host.template().args(arguments(&host, "t", IMAGE)).output().unwrap()).refuses(words);
    assert!(used(&host) < 4 << 20, "{}", used(&host));
}

#[test]
fn an_archive_other_than_the_signed_documents_say_becomes_no_container() {
    if !is_root() {
        return;
    }
    let image = bookworm();
    let truth = image.record().rootfs_tar;
    // The file itself is the signed one.
    for (lie, words) in [
        (FileDigest { size_bytes: truth.size_bytes + 512, ..truth }, "bytes that the signed documents say"),
        (FileDigest { size_bytes: truth.size_bytes, ..FileDigest::of(b"another") }, "and the signed documents say"),
    ] {
        let mut server = Server::publishing(std::slice::from_ref(&image));
        server.said_of_tars = Some(lie);
        server.publish(Claims::fresh(5));
        let host = Host::trusting(&server);
        for line in ["create c debian/12", "create c debian/12 --snapshot", "cache warm debian/12"] {
            host.run(line).refuses(words);
        }
        host.run("fetch debian/12").succeeds();
        host.run("create c debian/12 --offline").refuses(words);
        let left = host.tree("containers").into_iter().filter(|path| path.is_file()).collect::<Vec<_>>();
        assert!(!host.at("containers/c").exists() && left.iter().all(|path| path.ends_with("lock")), "{left:?}");
        for (name, flush) in [("cached", ""), ("cold", "--flush-cache")] {
            begun(&host, name, BEGUN);
            let before = fs::read(host.at(&format!("begun/{name}/config"))).unwrap();
            let line = format!("{IMAGE} {flush}");
            Said::of(&host.template().args(arguments(&host, name, &line)).output().unwrap()).refuses(words);
            assert_eq!(fs::read(host.at(&format!("begun/{name}/config"))).unwrap(), before);
        }
    }
}

#[test]
fn lines_of_a_classic_index_that_no_image_has_are_left_out_of_the_list() {
    let fields = "debian;bookworm;amd64;default;20261120_07:42;/a/";
    let index = format!(
        "\n{fields}\r\n;;;;;\ndebian;bookworm;amd64\n{fields};seventh\n../x;bookworm;amd64;default;1;/a/\n\
         de\u{1b}[2Jbian;sid;amd64;default;1;/a/\ndebian;trixie;amd64;default;20261120_07:42;/b/\n"
    );
    let (index, left_out) = formats::index::Index::parse(&index);
    let catalog = rootcellar::catalog::Catalog::of_index(index);
    let names: Vec<String> = catalog.images.iter().map(|image| image.id.to_string()).collect();
    assert!(names.contains(&"debian/trixie/amd64/default".to_owned()) && names.len() <= 2, "{names:?} {left_out:?}");
}
