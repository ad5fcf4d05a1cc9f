//! Which stock templates an image is offered to.

use std::collections::BTreeSet;

use formats::compat::{CompatLevel, Mode};
use formats::image::ImageId;
use formats::lxc_config::LxcConfig;
use formats::metadata::{LxcMetadata, MemberKind};

/// The modes and compat levels in which an image can be created. liblxc fails a create, and destroys the container,
/// when a configuration includes a file the host's LXC does not ship or sets a key it does not know, so an image is
/// not listed for a level whose configuration would do that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers(BTreeSet<(Mode, CompatLevel)>);

impl Offers {
    /// What the LXC metadata of an image allows.
    pub fn of(image: &ImageId, metadata: &LxcMetadata) -> Self {
        let all = Mode::ALL.into_iter().flat_map(|mode| CompatLevel::all().map(move |level| (mode, level)));
        let usable = all.filter(|(mode, level)| {
            let config = metadata.relevant(MemberKind::Config, *mode, *level);
            config.is_some_and(|config| loads(&LxcConfig::parse(config), *level)) && boots(image, *mode, *level)
        });
        Self(usable.collect())
    }

    /// Whether the image is offered in this mode and level.
    pub fn contains(&self, mode: Mode, level: CompatLevel) -> bool {
        self.0.contains(&(mode, level))
    }

    /// Whether the image is offered to nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether LXC of this level loads a configuration.
fn loads(config: &LxcConfig, level: CompatLevel) -> bool {
    config.items().all(|(key, value)| match key {
        "lxc.include" => value.strip_prefix("LXC_TEMPLATE_CONFIG/").is_none_or(|file| is_shipped(file, level)),
        _ if level < CompatLevel::NEW_KEYS => !is_one_of(key, NEW_KEYS),
        _ if level >= CompatLevel::PLAIN => !is_one_of(key, LEGACY_KEYS),
        // LXC 2.1 knows both.
        _ => true,
    })
}

/// Before LXC 1.1 nothing prepared the cgroups that systemd needs inside a user namespace, so the upstream server
/// hides distributions that boot it from `index-user.1`.
fn boots(image: &ImageId, mode: Mode, level: CompatLevel) -> bool {
    mode == Mode::System || level > CompatLevel::OLDEST || WITHOUT_SYSTEMD.contains(&image.distribution.as_str())
}

/// Whether LXC of this level installs a file in its directory of common configurations.
fn is_shipped(file: &str, level: CompatLevel) -> bool {
    SHIPPED.iter().any(|(files, first, last)| (*first..=*last).contains(&level.number()) && files.contains(&file))
        || file.split_once('.').is_some_and(|(distribution, kind)| {
            ["common.conf", "userns.conf"].contains(&kind)
                && SHIPPED_DISTRIBUTIONS
                    .iter()
                    .any(|(names, first)| (*first..=4).contains(&level.number()) && names.contains(&distribution))
        })
}

/// A key itself or anything below it.
fn is_one_of(key: &str, keys: &[&str]) -> bool {
    keys.iter().any(|known| match known.strip_suffix(".*") {
        Some(parent) => key.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.')),
        None => key == *known,
    })
}

type Levels = (&'static [&'static str], u8, u8);

/// Files of LXC's own, with the first and the last level that ships them (lxc `config/templates` at each release).
const SHIPPED: &[Levels] = &[(&["common.conf", "userns.conf", "nesting.conf"], 2, 7), (&["oci.common.conf"], 5, 7)];

/// Distributions with files of their own, with the first level that ships them. Level 5 dropped all of them.
const SHIPPED_DISTRIBUTIONS: &[(&[&str], u8)] = &[
    (&["centos", "debian", "fedora", "gentoo", "oracle", "plamo", "ubuntu", "ubuntu-cloud"], 1),
    (&["archlinux", "opensuse", "openwrt"], 2),
    (&["alpine", "slackware", "sparclinux"], 3),
    (&["sabayon", "voidlinux"], 4),
];

/// Keys that came with LXC 2.1 (lxc `doc/lxc.container.conf.sgml.in` and `lxc-update-config`).
const NEW_KEYS: &[&str] = &[
    "lxc.apparmor.*",
    "lxc.cap.ambient",
    "lxc.cgroup2.*",
    "lxc.console.path",
    "lxc.idmap",
    "lxc.init.*",
    "lxc.log.*",
    "lxc.mount.fstab",
    "lxc.namespace.*",
    "lxc.net.*",
    "lxc.prlimit.*",
    "lxc.proc.*",
    "lxc.pty.*",
    "lxc.rootfs.path",
    "lxc.seccomp.profile",
    "lxc.selinux.*",
    "lxc.signal.*",
    "lxc.sysctl.*",
    "lxc.tty.*",
    "lxc.uts.*",
];

/// Keys that LXC 3.0 no longer knows.
const LEGACY_KEYS: &[&str] = &[
    "lxc.aa_allow_incomplete",
    "lxc.aa_profile",
    "lxc.console",
    "lxc.devttydir",
    "lxc.haltsignal",
    "lxc.id_map",
    "lxc.init_cmd",
    "lxc.init_gid",
    "lxc.init_uid",
    "lxc.kmsg",
    "lxc.limit.*",
    "lxc.logfile",
    "lxc.loglevel",
    "lxc.mount",
    "lxc.network.*",
    "lxc.pivotdir",
    "lxc.pts",
    "lxc.rebootsignal",
    "lxc.rootfs",
    "lxc.se_context",
    "lxc.seccomp",
    "lxc.stopsignal",
    "lxc.tty",
    "lxc.utsname",
];

/// Distributions whose init is not systemd.
const WITHOUT_SYSTEMD: &[&str] =
    &["alpine", "busybox", "devuan", "gentoo", "openwrt", "plamo", "slackware", "voidlinux"];

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(image: &str, members: &[(&str, &str)]) -> Offers {
        let members = members.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
        Offers::of(&image.parse().unwrap(), &LxcMetadata::from_members(members).unwrap())
    }

    fn levels(offers: &Offers, mode: Mode) -> Vec<u8> {
        CompatLevel::all().filter(|level| offers.contains(mode, *level)).map(CompatLevel::number).collect()
    }

    const COMMON: &str = "lxc.include = LXC_TEMPLATE_CONFIG/common.conf\nlxc.arch = linux64\n";
    const DEBIAN: &str = "lxc.include = LXC_TEMPLATE_CONFIG/debian.common.conf\n";

    #[test]
    fn lxc_1_0_has_no_common_configuration() {
        let offers = offers("debian/trixie/amd64/default", &[("config", COMMON)]);
        assert_eq!(levels(&offers, Mode::System), [2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_level_is_served_by_an_edition_of_its_own() {
        let members = [("config", COMMON), ("config.1", DEBIAN)];
        let offers = offers("debian/trixie/amd64/default", &members);
        assert_eq!(levels(&offers, Mode::System), [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn distributions_lost_their_own_configurations_with_lxc_3_0() {
        let offers = offers("debian/trixie/amd64/default", &[("config", DEBIAN)]);
        assert_eq!(levels(&offers, Mode::System), [1, 2, 3, 4]);
    }

    #[test]
    fn keys_of_another_age_hide_an_image() {
        let new = offers("alpine/3.20/amd64/default", &[("config", "lxc.uts.name = LXC_NAME\n")]);
        assert_eq!(levels(&new, Mode::System), [4, 5, 6, 7]);
        let legacy = offers("alpine/3.20/amd64/default", &[("config", "lxc.utsname = x\nlxc.network.type = veth\n")]);
        assert_eq!(levels(&legacy, Mode::System), [1, 2, 3, 4]);
    }

    #[test]
    fn systemd_is_hidden_from_unprivileged_users_of_lxc_1_0() {
        let members = [("config", DEBIAN), ("config-user", "lxc.arch = linux64\n")];
        assert_eq!(levels(&offers("debian/trixie/amd64/default", &members), Mode::User), [2, 3, 4, 5, 6, 7]);
        assert_eq!(levels(&offers("devuan/daedalus/amd64/default", &members), Mode::User), [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_key_is_not_taken_for_its_longer_neighbour() {
        assert!(is_one_of("lxc.net.0.type", &["lxc.net.*"]));
        assert!(!is_one_of("lxc.network.type", &["lxc.net.*"]));
        assert!(!is_one_of("lxc.mount.entry", &["lxc.mount"]));
    }
}
