//! Each distribution's archives are found where it publishes them, and verified as it signs them.
//!
//! The sites are laid out as the real ones are, with archives of a few files and keys of this test.

use formats::checksum::Algorithm;

use super::site::{Place, Publisher, Site, file_in, gzip, line, rootfs, sha256, spec, tar, xz, zstd};
use crate::common::{is_root, output_of};

/// One distribution's site.
struct Case {
    site: Site,
    publisher: Publisher,
    image: &'static str,
    /// Of `source`, but for the keys.
    source: String,
    /// What is there for the downloader to be mistaken about.
    archive: String,
    /// Whether another build is as good when the newest is missing.
    has_other_builds: bool,
}

/// What is done to a site, and what is said of it.
type Lie<'a> = (&'a str, &'a dyn Fn(&Site), &'a str);

impl Case {
    fn new(image: &'static str, downloader: &str, directory: &str) -> Self {
        let site = Site::new();
        let source = format!("downloader: {downloader}, url: '{}{directory}'", site.url);
        Self { site, publisher: Publisher::new(), image, source, archive: String::new(), has_other_builds: false }
    }

    fn put(&self, path: &str, content: impl Into<Vec<u8>>) {
        self.site.put(path, content);
    }

    fn spec(&self) -> String {
        spec(self.image, &self.source, &[&self.publisher.certificate()])
    }

    /// Builds, and refuses every lie: each changes the site and is undone.
    fn holds(&self, marker: &str, lies: &[Lie<'_>]) {
        let place = Place::new();
        let done = place.build(&self.spec()).assert().success();
        let build = output_of(&done).0.trim_end().to_owned();
        assert_eq!(file_in(&build, "etc/marker"), marker);
        // Everything that was asked is in the cache.
        self.site.requests();
        let offline = place.build(&self.spec()).args(["--offline", "--force"]).assert().success();
        assert_eq!(file_in(output_of(&offline).0.trim_end(), "etc/marker"), marker);
        assert_eq!(self.site.requests(), Vec::<String>::new(), "an offline build has asked");
        let truth = self.site.files();
        let stranger = spec(self.image, &self.source, &[&Publisher::new().certificate()]);
        let refuse = |what: &str, spec: &str, expected: &str| {
            // Nothing that was kept may help.
            let _ = std::fs::remove_dir_all(place.directory.path().join("cache"));
            let (stdout, stderr) = output_of(&place.build(spec).assert().code(1));
            assert!(stderr.contains(expected), "{what}: expected `{expected}` in: {stderr}");
            assert_eq!(stdout, "", "{what}");
        };
        refuse("wrong key", &stranger, "signed by a key that is not among the given ones");
        let _ = std::fs::remove_dir_all(place.directory.path().join("cache"));
        let empty = output_of(&place.build(&self.spec()).arg("--offline").assert().code(1)).1;
        assert!(empty.contains("would have to be fetched, and `--offline` forbids it"), "{empty}");
        let unsigned = spec(self.image, &self.source, &[]);
        refuse("no key", &unsigned, "nothing vouches for what comes from");
        if !self.has_other_builds {
            self.site.lose(&self.archive);
            refuse("missing archive", &self.spec(), "does not exist on the server");
            self.site.restore(&truth);
        }
        for (what, lie, expected) in lies {
            lie(&self.site);
            refuse(what, &self.spec(), expected);
            self.site.restore(&truth);
        }
        // The site is as it was: the refusals were for the lies.
        place.build(&self.spec()).assert().success();
    }
}

#[test]
fn alpine_has_the_newest_point_release_with_a_signature_of_its_own() {
    if !is_root() {
        return;
    }
    let mut case = Case::new("release: 3.20, architecture: amd64", "alpinelinux-http", "/alpine/");
    let base = "alpine/v3.20/releases/x86_64";
    case.image = "release: 3.20, architecture: x86_64";
    for version in ["3.20.0", "3.20.9", "3.20.10"] {
        let archive = format!("{base}/alpine-minirootfs-{version}-x86_64.tar.gz");
        let content = gzip(&rootfs(".", version));
        case.put(&format!("{archive}.sha256"), sha256(&content, archive.rsplit('/').next().unwrap()));
        case.put(&format!("{archive}.asc"), case.publisher.detached(&content));
        case.put(&archive, content);
        case.archive = archive;
    }
    case.put(&format!("{base}/alpine-standard-3.20.11-x86_64.iso"), "another product");
    let archive = case.archive.clone();
    let (list, signature) = (format!("{archive}.sha256"), format!("{archive}.asc"));
    let other = sha256(b"other", "alpine-minirootfs-3.20.10-x86_64.tar.gz");
    case.holds(
        "3.20.10",
        &[
            ("wrong checksum", &|site| site.put(&list, other.clone()), "does not match its digest"),
            ("altered", &|site| site.tamper(&archive), "does not match its digest"),
            ("unsigned", &|site| site.remove(&signature), "has no OpenPGP signature"),
            (
                "an older release's signature",
                &|site| site.put(&signature, site.get(&signature.replace("20.10", "20.9"))),
                "altered after it was signed",
            ),
        ],
    );
}

#[test]
fn alpines_edge_begins_with_a_release_and_a_release_in_full_is_taken_as_it_is() {
    if !is_root() {
        return;
    }
    let (site, publisher, place) = (Site::new(), Publisher::new(), Place::new());
    let archive = "v3.19/releases/aarch64/alpine-minirootfs-3.19.3-aarch64.tar.gz";
    let content = gzip(&rootfs(".", "3.19.3"));
    site.put(archive, content.clone());
    site.put(&format!("{archive}.asc"), publisher.detached(&content));
    let source = format!("downloader: alpinelinux-http, url: '{}'", site.url);
    let key = publisher.certificate();
    let full = spec("release: 3.19.3, architecture: aarch64", &source, &[&key]);
    place.build(&full).assert().success();
    let edge = spec("release: edge, architecture: aarch64", &source, &[&key]);
    assert!(output_of(&place.build(&edge).assert().code(1)).1.contains("`source.same_as`"));
    let same_as = spec("release: edge, architecture: aarch64", &format!("{source}, same_as: 3.19.3"), &[&key]);
    // The archive of this test has no apk, which would be called next.
    let said = output_of(&place.build(&same_as).assert().code(1)).1;
    assert!(said.contains("use the repositories of edge failed"), "{said}");
    for bad in ["release: 3, architecture: aarch64", "release: 3.x, architecture: aarch64"] {
        let said = output_of(&place.build(&spec(bad, &source, &[&key])).assert().code(1)).1;
        assert!(said.contains("`image.release`"), "{said}");
    }
}

#[test]
fn archlinux_has_the_newest_month_and_its_tree_one_level_deeper() {
    if !is_root() {
        return;
    }
    let mut case = Case::new("architecture: x86_64", "archlinux-http", "/iso/");
    for month in ["2025.12.01", "2026.11.01", "2026.02.01"] {
        let archive = format!("iso/{month}/archlinux-bootstrap-{month}-x86_64.tar.zst");
        let content = zstd(&tar(&[("root.x86_64/etc/marker", month), ("pkglist.x86_64.txt", "left out")]));
        case.put(&format!("iso/{month}/sha256sums.txt"), sha256(&content, archive.rsplit('/').next().unwrap()));
        case.put(&format!("{archive}.sig"), case.publisher.detached(&content));
        case.put(&archive, content);
    }
    case.put("iso/latest/arch/version", "a link");
    case.archive = "iso/2026.11.01/archlinux-bootstrap-2026.11.01-x86_64.tar.zst".to_owned();
    let archive = case.archive.clone();
    let signature = format!("{archive}.sig");
    case.holds(
        "2026.11.01",
        &[
            ("altered", &|site| site.tamper(&archive), "does not match its digest"),
            (
                "wrong checksum",
                &|site| site.put("iso/2026.11.01/sha256sums.txt", site.get("iso/2026.02.01/sha256sums.txt")),
                "has no sha256 checksum of",
            ),
            ("unsigned", &|site| site.remove(&signature), "has no OpenPGP signature"),
        ],
    );
}

#[test]
fn the_ports_of_archlinux_have_one_latest_archive_each() {
    if !is_root() {
        return;
    }
    for (architecture, path) in
        [("aarch64", "os/ArchLinuxARM-aarch64-latest.tar.gz"), ("riscv64", "images/archriscv-latest.tar.zst")]
    {
        let (site, publisher, place) = (Site::new(), Publisher::new(), Place::new());
        let content = gzip(&rootfs(".", architecture));
        site.put(path, content.clone());
        site.put(&format!("{path}.sig"), publisher.detached(&content));
        let source = format!("downloader: archlinux-http, url: '{}'", site.url);
        let image = format!("architecture: {architecture}");
        let done = place.build(&spec(&image, &source, &[&publisher.certificate()])).assert().success();
        assert_eq!(file_in(output_of(&done).0.trim_end(), "etc/marker"), architecture);
        site.tamper(path);
        std::fs::remove_dir_all(place.directory.path().join("cache")).unwrap();
        let said = output_of(&place.build(&spec(&image, &source, &[&publisher.certificate()])).assert().code(1)).1;
        assert!(said.contains("altered after it was signed"), "{said}");
    }
}

#[test]
fn ubuntu_has_base_archives_in_a_signed_list() {
    if !is_root() {
        return;
    }
    let mut case = Case::new("release: noble, architecture: amd64", "ubuntu-http", "/cdimage/ubuntu-base");
    let base = "cdimage/ubuntu-base/releases/noble/release";
    let mut list = String::new();
    for version in ["24.04", "24.04.2", "24.04.10"] {
        let name = format!("ubuntu-base-{version}-base-amd64.tar.gz");
        let content = gzip(&rootfs(".", version));
        list += &sha256(&content, &name).replace("  ", " *");
        case.archive = format!("{base}/{name}");
        case.put(&case.archive, content);
    }
    case.put(&format!("{base}/ubuntu-base-24.04.11-base-arm64.tar.gz"), "of another architecture");
    case.put(&format!("{base}/SHA256SUMS.gpg"), case.publisher.detached(list.as_bytes()));
    case.put(&format!("{base}/SHA256SUMS"), list.clone());
    let archive = case.archive.clone();
    case.holds(
        "24.04.10",
        &[
            ("altered", &|site| site.tamper(&archive), "does not match its digest"),
            (
                "another list",
                &|site| site.put(&format!("{base}/SHA256SUMS"), list.replace('a', "b")),
                "altered after it was signed",
            ),
            ("no list", &|site| site.remove(&format!("{base}/SHA256SUMS")), "does not exist on the server"),
            ("unsigned list", &|site| site.remove(&format!("{base}/SHA256SUMS.gpg")), "has no OpenPGP signature"),
        ],
    );
}

#[test]
fn opensuse_has_the_newest_build_that_is_really_there() {
    if !is_root() {
        return;
    }
    let mut case = Case::new("release: 16.0, architecture: x86_64", "opensuse-http", "/download");
    let base = "download/distribution/leap/16.0/appliances";
    for build in ["Build9.2", "Build10.1"] {
        let name = format!("opensuse-leap-image.x86_64-16.0.0-lxc-{build}.tar.xz");
        let content = xz(&rootfs(".", build));
        case.archive = format!("{base}/{name}");
        case.put(&format!("{base}/{name}.sha256"), case.publisher.inline(&sha256(&content, "image.tar.xz")));
        case.put(&case.archive, content);
    }
    case.put(&format!("{base}/opensuse-leap-image.aarch64-16.0.0-lxc-Build99.1.tar.xz"), "of another architecture");
    let archive = case.archive.clone();
    let list = format!("{archive}.sha256");
    let plain = sha256(&case.site.get(&archive), "image.tar.xz");
    let forged = String::from_utf8(case.site.get(&list)).unwrap().replace("image.tar.xz", "other.tar.xz");
    case.has_other_builds = true;
    case.site.lose(&archive);
    let place = Place::new();
    let done = place.build(&case.spec()).assert().success();
    assert_eq!(file_in(output_of(&done).0.trim_end(), "etc/marker"), "Build9.2");
    case.site.restore(&case.site.files());
    case.holds(
        "Build10.1",
        &[
            ("altered", &|site| site.tamper(&archive), "does not match its digest"),
            ("unsigned list", &|site| site.put(&list, plain.clone()), "has no OpenPGP signature"),
            ("forged list", &|site| site.put(&list, forged.clone()), "altered after it was signed"),
        ],
    );
}

#[test]
fn opensuse_tumbleweed_has_a_directory_for_each_architecture() {
    if !is_root() {
        return;
    }
    let (site, publisher, place) = (Site::new(), Publisher::new(), Place::new());
    let base = "repositories/Virtualization:/containers:/images:/openSUSE-Tumbleweed/container_ARM";
    let archive = format!("{base}/opensuse-tumbleweed-image.aarch64-lxc.tar.xz");
    let content = xz(&rootfs(".", "tumbleweed"));
    let list = sha256(&content, "opensuse-tumbleweed-image.aarch64-1.0.0-lxc-Build1.1.tar.xz");
    site.put(&format!("{archive}.sha256.asc"), publisher.detached(list.as_bytes()));
    site.put(&format!("{archive}.sha256"), list);
    site.put(&archive, content);
    let source = format!("downloader: opensuse-http, url: '{}'", site.url);
    let key = publisher.certificate();
    let done = place.build(&spec("release: Tumbleweed, architecture: aarch64", &source, &[&key])).assert().success();
    assert_eq!(file_in(output_of(&done).0.trim_end(), "etc/marker"), "tumbleweed");
    let riscv64 = spec("release: tumbleweed, architecture: riscv64", &source, &[&key]);
    assert!(output_of(&place.build(&riscv64).assert().code(1)).1.contains("nothing for the architecture `riscv64`"));
}

#[test]
fn voidlinux_has_one_signed_list_for_all() {
    if !is_root() {
        return;
    }
    let mut case = Case::new("architecture: x86_64", "voidlinux-http", "/live/current/");
    let mut list = String::new();
    for name in ["void-x86_64-ROOTFS-20260101", "void-x86_64-musl-ROOTFS-20261101", "void-x86_64-ROOTFS-20261101"] {
        let name = format!("{name}.tar.xz");
        let content = xz(&rootfs(".", &name));
        let digits = sha256(&content, "")[..64].to_owned();
        list = list + "SHA256 (" + &name + ") = " + &digits + "\n";
        case.archive = format!("live/current/{name}");
        case.put(&case.archive, content);
    }
    case.put("live/current/sha256sum.sig", case.publisher.detached(list.as_bytes()));
    case.put("live/current/sha256sum.txt", list.clone());
    let archive = case.archive.clone();
    case.holds(
        "void-x86_64-ROOTFS-20261101.tar.xz",
        &[
            ("altered", &|site| site.tamper(&archive), "does not match its digest"),
            (
                "another list",
                &|site| site.put("live/current/sha256sum.txt", list.replace('a', "b")),
                "altered after it was signed",
            ),
            ("unsigned list", &|site| site.remove("live/current/sha256sum.sig"), "has no OpenPGP signature"),
        ],
    );
    case.source += ", variant: musl";
    let done = Place::new().build(&case.spec()).assert().success();
    assert!(output_of(&done).1.contains("Built test/current/amd64/default"));
}

#[test]
fn gentoo_has_a_stage_and_its_ebuilds_each_signed() {
    if !is_root() {
        return;
    }
    let mut case = Case::new("architecture: amd64", "gentoo-http", "/gentoo");
    case.source += ", variant: openrc";
    let base = "gentoo/releases/amd64/autobuilds/current-stage3-amd64-openrc";
    for date in ["20261101T170000Z", "20261108T170000Z"] {
        let name = format!("stage3-amd64-openrc-{date}.tar.xz");
        let content = xz(&tar(&[("etc/marker", date), ("var/db/repos/gentoo/old", "old")]));
        let (sha512, other) = (line(Algorithm::Sha512, &content, &name), line(Algorithm::Sha512, b"x", &name));
        let digests = format!("# BLAKE2B HASH\n{other}# SHA512 HASH\n{sha512}");
        case.archive = format!("{base}/{name}");
        case.put(&format!("{}.DIGESTS", case.archive), case.publisher.inline(&digests));
        case.put(&case.archive, content);
    }
    let ebuilds = xz(&tar(&[("portage/profiles/repo_name", "gentoo\n")]));
    case.put("gentoo/snapshots/portage-latest.tar.xz.gpgsig", case.publisher.detached(&ebuilds));
    case.put("gentoo/snapshots/portage-latest.tar.xz", ebuilds);
    let place = Place::new();
    let done = place.build(&case.spec()).assert().success();
    let build = output_of(&done).0.trim_end().to_owned();
    assert_eq!(file_in(&build, "var/db/repos/gentoo/profiles/repo_name"), "gentoo\n");
    let archive = case.archive.clone();
    let list = format!("{archive}.DIGESTS");
    let forged = String::from_utf8(case.site.get(&list)).unwrap().replace("SHA512 HASH", "SHA512  HASH");
    case.holds(
        "20261108T170000Z",
        &[
            ("altered", &|site| site.tamper(&archive), "is not the file it should be: expected sha512:"),
            ("forged list", &|site| site.put(&list, forged.clone()), "altered after it was signed"),
            (
                "altered ebuilds",
                &|site| site.tamper("gentoo/snapshots/portage-latest.tar.xz"),
                "altered after it was signed",
            ),
            (
                "unsigned ebuilds",
                &|site| site.remove("gentoo/snapshots/portage-latest.tar.xz.gpgsig"),
                "has no OpenPGP signature",
            ),
        ],
    );
}

#[test]
fn alt_has_one_archive_for_a_branch_in_a_signed_list() {
    if !is_root() {
        return;
    }
    let mut case = Case::new("release: Sisyphus, architecture: x86_64", "alt-http", "/images/");
    let base = "images/Sisyphus/cloud/x86_64";
    let name = "alt-sisyphus-rootfs-systemd-x86_64.tar.xz";
    let content = xz(&rootfs(".", "alt"));
    let list = sha256(&content, name);
    case.archive = format!("{base}/{name}");
    case.put(&case.archive, content);
    case.put(&format!("{base}/SHA256SUMS.gpg"), case.publisher.detached(list.as_bytes()));
    case.put(&format!("{base}/SHA256SUMS"), list.clone());
    let archive = case.archive.clone();
    case.holds(
        "alt",
        &[
            ("altered", &|site| site.tamper(&archive), "does not match its digest"),
            (
                "wrong checksum",
                &|site| site.put(&format!("{base}/SHA256SUMS"), sha256(b"x", name)),
                "altered after it was signed",
            ),
            ("unsigned list", &|site| site.remove(&format!("{base}/SHA256SUMS.gpg")), "has no OpenPGP signature"),
        ],
    );
}
