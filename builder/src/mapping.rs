//! How distributions spell architectures.

use formats::arch::Arch;

use crate::spec::definition::Mappings;

/// The distribution's spelling of an architecture: by the named map, else by the spec's own, else as it was given
/// (distrobuilder `shared/osarch.go`; only what differs is listed).
pub(crate) fn mapped(mappings: &Mappings, arch: Arch, given: &str) -> Result<String, UnknownMap> {
    let map = mappings.architecture_map.as_str();
    if map.is_empty() {
        let own = mappings.architectures.iter().find(|(key, _)| [given, arch.kernel_name()].contains(&key.as_str()));
        return Ok(own.map_or(given, |(_, spelling)| spelling.as_str()).to_owned());
    }
    if !MAPS.contains(&map) {
        return Err(UnknownMap { found: map.to_owned() });
    }
    if arch == Arch::Armel {
        return Ok("armel".to_owned());
    }
    if map == "debian" {
        return Ok(arch.as_str().to_owned());
    }
    let row = ROWS.iter().find(|(maps, canonical, _)| maps.contains(&map) && *canonical == arch);
    Ok(row.map_or(arch.kernel_name(), |(_, _, spelling)| spelling).to_owned())
}

/// A map that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown architecture map `{found}`, expected one of {}", MAPS.map(|map| format!("`{map}`")).join(", "))]
pub(crate) struct UnknownMap {
    found: String,
}

const MAPS: [&str; 12] = [
    "almalinux",
    "alpinelinux",
    "altlinux",
    "archlinux",
    "centos",
    "debian",
    "funtoo",
    "gentoo",
    "openwrt",
    "plamolinux",
    "slackware",
    "voidlinux",
];

const ROWS: &[(&[&str], Arch, &str)] = &[
    (&["alpinelinux", "plamolinux"], Arch::I386, "x86"),
    (&["altlinux", "slackware"], Arch::I386, "i586"),
    (&["almalinux", "centos"], Arch::I386, "i386"),
    (&["funtoo"], Arch::I386, "generic_32"),
    (&["gentoo"], Arch::Amd64, "amd64"),
    (&["funtoo"], Arch::Amd64, "generic_64"),
    (&["openwrt"], Arch::Amd64, "x86-64"),
    (&["alpinelinux", "archlinux"], Arch::Armhf, "armv7"),
    (&["gentoo"], Arch::Armhf, "armv7a_hardfp"),
    (&["funtoo"], Arch::Armhf, "armv7a_vfpv3_hardfp"),
    (&["openwrt"], Arch::Armhf, "armsr-armv7"),
    (&["openwrt"], Arch::Arm64, "armsr-armv8"),
    (&["funtoo"], Arch::Arm64, "arm64_generic"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn by(map: &str, given: &str) -> String {
        let mappings = Mappings { architecture_map: map.into(), ..Mappings::default() };
        mapped(&mappings, given.parse().unwrap(), given).unwrap()
    }

    #[test]
    fn every_alias_maps_to_the_distributions_spelling() {
        for (map, given, expected) in [
            ("debian", "x86_64", "amd64"),
            ("debian", "amd64", "amd64"),
            ("debian", "armv7l", "armhf"),
            ("debian", "ppc64le", "ppc64el"),
            ("debian", "riscv64", "riscv64"),
            ("alpinelinux", "i686", "x86"),
            ("alpinelinux", "armhf", "armv7"),
            ("alpinelinux", "amd64", "x86_64"),
            ("voidlinux", "arm64", "aarch64"),
            ("gentoo", "x86_64", "amd64"),
            ("openwrt", "aarch64", "armsr-armv8"),
            ("centos", "armel", "armel"),
        ] {
            assert_eq!(by(map, given), expected, "{map} {given}");
        }
    }

    #[test]
    fn without_a_map_the_specs_own_words_or_the_given_one_stay() {
        let mut mappings = Mappings::default();
        assert_eq!(mapped(&mappings, Arch::Amd64, "x86_64_v2").unwrap(), "x86_64_v2");
        mappings.architectures.insert("x86_64".into(), "k8".into());
        assert_eq!(mapped(&mappings, Arch::Amd64, "amd64").unwrap(), "k8");
        assert_eq!(mapped(&mappings, Arch::Arm64, "aarch64").unwrap(), "aarch64");
    }

    #[test]
    fn an_unknown_map_is_an_error_that_lists_the_known_ones() {
        let mappings = Mappings { architecture_map: "gnu".into(), ..Mappings::default() };
        let error = mapped(&mappings, Arch::Amd64, "amd64").unwrap_err().to_string();
        assert!(error.contains("`gnu`") && error.contains("`debian`"), "{error}");
    }
}
