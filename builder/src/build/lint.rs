//! What a build is checked for before it is called good.
//!
//! Each lint has a name, and `--allow-lint NAME` lets a build pass that has what it finds. What is allowed is still said.

use std::fmt;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::ValueEnum;
use formats::compat::{CompatLevel, Mode};
use formats::lxc_config::LxcConfig;
use formats::metadata::{LxcMetadata, MemberKind};
use serde::{Deserialize, Serialize};

use super::tree::Tree;
use crate::limits;

/// What is looked for, by the name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lint {
    /// LXC of some version has no configuration for the image.
    Config,
    /// LXC is to replace names in a file that is not there.
    Templates,
    /// Secret keys, which would be everybody's.
    PrivateKeys,
    /// Host keys of an SSH server, which every container would have.
    SshHostKeys,
    /// A mirror that only this machine or its network can reach, or that needs a password.
    Mirror,
    /// The name of this machine.
    HostName,
    /// The name servers of this machine.
    NameServers,
    /// A machine id, which every container would have.
    MachineId,
    /// Devices where none belong, so that unprivileged containers would leave out files of the image.
    Excludes,
    /// Much larger or smaller than the build before.
    Size,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) lint: Lint,
    what: String,
}

impl Finding {
    fn new(lint: Lint, what: impl Into<String>) -> Self {
        Self { lint, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.lint, self.what)
    }
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// What must not be in an image of the machine that builds it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    name: String,
    name_servers: Vec<u8>,
    /// The mirror that was given in place of the spec's.
    mirror: Option<String>,
}

impl Host {
    /// This machine.
    pub(crate) fn here(mirror: Option<&str>) -> Self {
        Self {
            name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            name_servers: std::fs::read("/etc/resolv.conf").unwrap_or_default(),
            mirror: mirror.map(str::to_owned),
        }
    }
}

/// What is wrong with a finished tree and the metadata that goes with it. `substituted` are the files in which LXC
/// replaces names.
pub(crate) fn of_tree(
    tree: &Tree,
    metadata: &LxcMetadata,
    substituted: &[String],
    host: &Host,
) -> io::Result<Vec<Finding>> {
    let mut findings = of_config(metadata);
    for path in substituted {
        if !tree.has(path)? {
            findings
                .push(Finding::new(Lint::Templates, format!("`{path}` is to be filled in by LXC and is not there")));
        }
    }
    for node in tree.device_nodes()?.iter().filter(|node| !node.starts_with("./dev/")) {
        findings.push(Finding::new(Lint::Excludes, format!("`{node}` is a device outside of /dev")));
    }
    let machine_id = tree.read("/etc/machine-id")?.unwrap_or_default();
    if !["", "uninitialized"].contains(&String::from_utf8_lossy(&machine_id).trim()) {
        findings.push(Finding::new(Lint::MachineId, "`/etc/machine-id` has one"));
    }
    findings.extend(of_names(tree, host)?);
    let mut found = |lint, path: &str| findings.push(Finding::new(lint, format!("`/{path}`")));
    for directory in SECRET_PLACES {
        visit(tree.path(), directory, &mut |path, head| {
            if is_host_key(path) {
                found(Lint::SshHostKeys, path);
            } else if is_private_key(path, head) {
                found(Lint::PrivateKeys, path);
            }
        })?;
    }
    if let Some(leak) = host.mirror.as_deref().and_then(leak) {
        for directory in REPOSITORY_PLACES {
            visit(tree.path(), directory, &mut |path, head| {
                if String::from_utf8_lossy(head).contains(leak) {
                    found(Lint::Mirror, path);
                }
            })?;
        }
    }
    Ok(findings)
}

/// Whether the image became much larger or smaller: sizes of `rootfs.tar` in bytes.
pub(crate) fn of_size(before: u64, after: u64) -> Option<Finding> {
    let change = before.abs_diff(after);
    let is_much = change > limits::SIZE_CHANGE_BYTES && change > before.min(after) / 2;
    let mebibytes = |bytes| bytes >> 20;
    is_much.then(|| {
        let what = format!("{} MiB unpacked, {} MiB in the build before", mebibytes(after), mebibytes(before));
        Finding::new(Lint::Size, what)
    })
}

/// The configuration that the template of each version of LXC takes.
fn of_config(metadata: &LxcMetadata) -> Vec<Finding> {
    let editions = Mode::ALL.into_iter().flat_map(|mode| CompatLevel::all().map(move |level| (mode, level)));
    let is_missing = |(mode, level): &(Mode, CompatLevel)| {
        metadata.relevant(MemberKind::Config, *mode, *level).is_none_or(|content| content.trim().is_empty())
    };
    let missing = editions.filter(is_missing);
    let missing =
        missing.map(|(mode, level)| Finding::new(Lint::Config, format!("none for mode {mode}, compat level {level}")));
    missing.chain(Mode::ALL.into_iter().filter_map(|mode| of_first_version(metadata, mode))).collect()
}

/// LXC 7 has the compat level of LXC 4, and does not load what sets control groups of version 1, which the others ignore
/// where there is none (pull request 4671 of lxc/lxc).
fn of_first_version(metadata: &LxcMetadata, mode: Mode) -> Option<Finding> {
    let config = LxcConfig::parse(metadata.relevant(MemberKind::Config, mode, CompatLevel::NEWEST)?);
    let is_gone = |key: &str| {
        let below = key.strip_prefix("lxc.cgroup.").and_then(|key| key.split('.').next());
        below.is_some_and(|name| !["dir", "relative"].contains(&name))
    };
    let (key, _) = config.items().find(|(key, _)| is_gone(key))?;
    Some(Finding::new(Lint::Config, format!("`{key}` for mode {mode}, with which LXC 7 makes no container")))
}

/// The name and the name servers of the machine that builds.
fn of_names(tree: &Tree, host: &Host) -> io::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    if !host.name.is_empty() && !COMMON_NAMES.contains(&host.name.as_str()) {
        for path in ["/etc/hostname", "/etc/hosts", "/etc/mailname"] {
            let content = tree.read(path)?.unwrap_or_default();
            if String::from_utf8_lossy(&content).split_whitespace().any(|word| word == host.name) {
                findings.push(Finding::new(Lint::HostName, format!("`{path}` has `{}`", host.name)));
            }
        }
    }
    // A link, as of systemd-resolved, leads into the container.
    let content = if is_file(&tree.path().join("etc/resolv.conf")) { tree.read("/etc/resolv.conf")? } else { None };
    if content.is_some_and(|content| !content.trim_ascii().is_empty() && content == host.name_servers) {
        findings.push(Finding::new(Lint::NameServers, "`/etc/resolv.conf` is this machine's"));
    }
    Ok(findings)
}

fn is_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// What of a mirror's address must not be in an image: the whole when it has a password, or when nobody else can reach
/// it.
fn leak(mirror: &str) -> Option<&str> {
    let (scheme, rest) = mirror.split_once("://")?;
    let authority = rest.split('/').next().unwrap_or_default();
    if let Some((secret, _)) = authority.rsplit_once('@') {
        return Some(secret);
    }
    if scheme == "file" {
        return Some(rest);
    }
    let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name).trim_matches(['[', ']']);
    let is_private = match name.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_private() || address.is_loopback() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Err(_) => !name.contains('.') || PRIVATE_ENDINGS.iter().any(|ending| name.ends_with(ending)),
    };
    is_private.then_some(authority)
}

fn is_host_key(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_openssh = name.starts_with("ssh_host_") && name.ends_with("_key");
    is_openssh || (name.starts_with("dropbear_") && name.ends_with("_host_key"))
}

fn is_private_key(path: &str, head: &[u8]) -> bool {
    let in_keyring = path.contains("/private-keys-v1.d/");
    let text = String::from_utf8_lossy(head);
    let is_armored = |line: &str| {
        line.starts_with("-----BEGIN ")
            && (line.contains("PRIVATE KEY-----") || line.contains("PGP PRIVATE KEY BLOCK-----"))
    };
    in_keyring || text.lines().any(is_armored)
}

/// Shows every regular file below a directory of the tree, by its path in it and its first bytes. Links are not followed.
fn visit(root: &Path, path: &str, see: &mut impl FnMut(&str, &[u8])) -> io::Result<()> {
    let place = root.join(path);
    let Ok(metadata) = std::fs::symlink_metadata(&place) else { return Ok(()) };
    if metadata.is_dir() {
        let mut names = std::fs::read_dir(&place)?
            .map(|entry| Ok(String::from_utf8_lossy(entry?.file_name().as_bytes()).into_owned()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        return names.iter().try_for_each(|name| visit(root, &format!("{path}/{name}"), see));
    }
    if metadata.is_file() {
        let mut head = Vec::new();
        std::fs::File::open(&place)?.take(limits::LINTED_BYTES).read_to_end(&mut head)?;
        see(path, &head);
    }
    Ok(())
}

/// Where secrets end up; what is below `/usr` comes from packages, examples and tests included.
const SECRET_PLACES: [&str; 7] = ["etc", "home", "opt", "root", "srv", "usr/local", "var"];

/// Where package managers keep addresses.
const REPOSITORY_PLACES: [&str; 6] =
    ["etc/apk", "etc/apt", "etc/pacman.d/mirrorlist", "etc/xbps.d", "etc/yum.repos.d", "etc/zypp"];

/// Names that say nothing of a machine.
const COMMON_NAMES: [&str; 4] = ["localhost", "(none)", "debian", "host"];

const PRIVATE_ENDINGS: [&str; 6] = [".home", ".home.arpa", ".internal", ".lan", ".local", ".localdomain"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::files::Ownership;

    fn metadata() -> LxcMetadata {
        let mut metadata = LxcMetadata::default();
        metadata.set(MemberKind::Config, None, None, "lxc.arch = linux64\n".to_owned());
        metadata
    }

    fn host() -> Host {
        Host {
            name: "buildhost".into(),
            name_servers: b"nameserver 192.0.2.1\n".to_vec(),
            mirror: Some("http://mirror.lan:3142/debian".into()),
        }
    }

    /// What is found in a tree of one file.
    fn found(path: &str, content: &str) -> Vec<Lint> {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        tree.write(path, content.as_bytes(), Ownership::default()).unwrap();
        let findings = of_tree(&tree, &metadata(), &[], &host()).unwrap();
        findings.into_iter().map(|finding| finding.lint).collect()
    }

    #[test]
    fn secrets_are_found_where_they_end_up() {
        let pem = "# made here\n-----BEGIN OPENSSH PRIVATE KEY-----\nxyz\n";
        for (path, content, expected) in [
            ("/root/.ssh/id_ed25519", pem, &[Lint::PrivateKeys][..]),
            ("/etc/ssl/private/server.pem", "-----BEGIN PRIVATE KEY-----\n", &[Lint::PrivateKeys]),
            ("/srv/key.asc", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n", &[Lint::PrivateKeys]),
            ("/etc/pacman.d/gnupg/private-keys-v1.d/0A.key", "(11:private-key", &[Lint::PrivateKeys]),
            ("/etc/ssh/ssh_host_ed25519_key", pem, &[Lint::SshHostKeys]),
            ("/etc/dropbear/dropbear_ed25519_host_key", "binary", &[Lint::SshHostKeys]),
            ("/etc/ssl/certs/ca.pem", "-----BEGIN CERTIFICATE-----\n", &[]),
            ("/usr/share/doc/example.pem", pem, &[]),
            ("/etc/ssh/moduli", "of -----BEGIN PRIVATE KEY-----", &[]),
        ] {
            assert_eq!(found(path, content), expected, "{path}");
        }
    }

    #[test]
    fn traces_of_the_machine_that_builds_are_found() {
        for (path, content, expected) in [
            ("/etc/hostname", "buildhost\n", &[Lint::HostName][..]),
            ("/etc/hosts", "127.0.1.1\tbuildhost\n", &[Lint::HostName]),
            ("/etc/hosts", "127.0.1.1\tbuildhost2\n", &[]),
            ("/etc/resolv.conf", "nameserver 192.0.2.1\n", &[Lint::NameServers]),
            ("/etc/resolv.conf", "nameserver 192.0.2.2\n", &[]),
            ("/etc/machine-id", "0123456789abcdef0123456789abcdef\n", &[Lint::MachineId]),
            ("/etc/machine-id", "uninitialized\n", &[]),
            ("/etc/apt/sources.list", "deb http://mirror.lan:3142/debian sid main\n", &[Lint::Mirror]),
            ("/etc/apt/sources.list", "deb http://mirror.example.org/debian sid main\n", &[]),
        ] {
            assert_eq!(found(path, content), expected, "{path} {content}");
        }
    }

    #[test]
    fn a_mirror_that_others_can_reach_is_no_leak_and_a_password_is() {
        for (mirror, expected) in [
            ("http://mirror.example.org/debian", None),
            ("http://192.0.2.1/debian", None),
            ("http://10.0.0.1:80/debian", Some("10.0.0.1:80")),
            ("http://[::1]:80/debian", Some("[::1]:80")),
            ("http://apt/debian", Some("apt")),
            ("file:///srv/mirror", Some("/srv/mirror")),
            ("https://me:secret@mirror.example.org/debian", Some("me:secret")),
        ] {
            assert_eq!(leak(mirror), expected, "{mirror}");
        }
    }

    #[test]
    fn every_version_of_lxc_must_have_a_configuration() {
        assert_eq!(of_config(&metadata()), []);
        assert_eq!(of_config(&LxcMetadata::default()).len(), 14);
        let mut blank = metadata();
        blank.set(MemberKind::Config, None, Some(CompatLevel::NEW_KEYS), "\n".to_owned());
        let findings = of_config(&blank);
        assert_eq!(findings.len(), 2);
        assert_eq!(findings[0].to_string(), "config: none for mode system, compat level 4");
    }

    #[test]
    fn control_groups_of_version_1_are_only_for_versions_of_lxc_that_have_them() {
        let mut old = metadata();
        old.set(MemberKind::Config, None, Some(CompatLevel::NEW_KEYS), "lxc.cgroup.devices.deny = a\n".to_owned());
        old.set(MemberKind::Config, None, None, "lxc.cgroup.dir = x\nlxc.cgroup2.devices.deny = a\n".to_owned());
        assert_eq!(of_config(&old), []);
        old.set(MemberKind::Config, None, None, "lxc.cgroup.devices.deny = a\n".to_owned());
        let found = of_config(&old).iter().map(ToString::to_string).collect::<Vec<_>>();
        let of =
            |mode| format!("config: `lxc.cgroup.devices.deny` for mode {mode}, with which LXC 7 makes no container");
        assert_eq!(found, [of("system"), of("user")]);
    }

    #[test]
    fn a_file_that_lxc_fills_in_must_be_there() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        let findings = of_tree(&tree, &metadata(), &["/etc/issue".to_owned()], &host()).unwrap();
        assert_eq!(findings.len(), 1);
        assert!(findings[0].to_string().starts_with("templates: `/etc/issue`"), "{}", findings[0]);
    }

    #[test]
    fn a_device_outside_of_dev_is_found() {
        if !rustix::process::geteuid().is_root() {
            testkit::skip("only root makes devices");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        for (path, place) in [("/dev/null", "dev/null"), ("/etc/null", "etc/null")] {
            tree.write(&format!("{path}-beside"), b"", Ownership::default()).unwrap();
            let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::from_raw_mode(0o666));
            let device = rustix::fs::makedev(1, 3);
            rustix::fs::mknodat(rustix::fs::CWD, directory.path().join(place), kind, mode, device).unwrap();
        }
        let findings = of_tree(&tree, &metadata(), &[], &host()).unwrap();
        assert_eq!(findings, [Finding::new(Lint::Excludes, "`./etc/null` is a device outside of /dev")]);
    }

    #[test]
    fn a_sudden_change_of_size_is_found_and_growth_is_not() {
        let mebibytes = |number: u64| number << 20;
        assert_eq!(of_size(mebibytes(300), mebibytes(320)), None);
        assert_eq!(of_size(mebibytes(2), mebibytes(10)), None);
        for (before, after) in [(300, 460), (460, 300), (300, 1)] {
            assert_eq!(of_size(mebibytes(before), mebibytes(after)).unwrap().lint, Lint::Size, "{before} {after}");
        }
    }
}
