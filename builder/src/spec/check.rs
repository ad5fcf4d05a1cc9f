//! Rules that one key of a spec has about another, as distrobuilder's `validate` applies them.

use formats::arch::{Arch, ParseArchError};

use super::definition::{CustomCommand, Definition};
use super::lines::{Lines, Section};
use super::text::Text;
use crate::mapping::UnknownMap;

/// Refuses what no build could mean. Names and defaults are already filled in.
pub(crate) fn check(definition: &Definition, lines: &Lines) -> Result<(), CheckError> {
    required("image.distribution", &definition.image.distribution)?;
    required("source.downloader", &definition.source.downloader)?;
    known("source.downloader", &definition.source.downloader, &DOWNLOADERS)?;
    let packages = &definition.packages;
    match (&packages.custom_manager, packages.manager.is_empty()) {
        (None, true) => return Err(CheckError::NoManager),
        (Some(_), false) => return Err(CheckError::TwoManagers),
        (None, false) => known("packages.manager", &packages.manager, &MANAGERS)?,
        (Some(custom), true) => {
            let commands: [(&str, &CustomCommand); 5] = [
                ("clean", &custom.clean),
                ("install", &custom.install),
                ("remove", &custom.remove),
                ("refresh", &custom.refresh),
                ("update", &custom.update),
            ];
            for (name, command) in commands {
                required(&format!("packages.custom_manager.{name}.cmd"), &command.cmd)?;
            }
        }
    }
    for (index, file) in definition.files.iter().enumerate() {
        if !file.mode.is_empty() && u32::from_str_radix(&file.mode, 8).is_ok_and(|mode| mode <= 0o7777) {
            continue;
        }
        if !file.mode.is_empty() {
            let place = lines.place(Section::Files, index);
            return Err(CheckError::Mode { place, found: file.mode.to_string() });
        }
    }
    Ok(())
}

/// Why a spec that parses is still no image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error("`{key}` is required and empty")]
    Required { key: String },
    #[error("`{key}`: unknown name `{found}`, expected one of {}", list(.expected))]
    Unknown { key: &'static str, found: String, expected: &'static [&'static str] },
    #[error("`packages` names no package manager: expected `manager` or `custom_manager`")]
    NoManager,
    #[error("`packages` has both `manager` and `custom_manager`: expected one of them")]
    TwoManagers,
    #[error("{place}: expected `mode` in octal such as `0644`, found `{found}`")]
    Mode { place: String, found: String },
    #[error("`image.architecture`")]
    Arch(#[from] ParseArchError),
    #[error("`mappings.architecture_map`")]
    Map(#[from] UnknownMap),
    #[error("`image.architecture` is not given, and this machine's own is unknown")]
    NoArch,
}

/// The architecture the spec asks for, by default this machine's.
pub(crate) fn arch(given: &Text) -> Result<Arch, CheckError> {
    if given.is_empty() { Arch::host().ok_or(CheckError::NoArch) } else { Ok(given.parse()?) }
}

fn required(key: &str, value: &Text) -> Result<(), CheckError> {
    if value.trim().is_empty() { Err(CheckError::Required { key: key.to_owned() }) } else { Ok(()) }
}

fn known(key: &'static str, value: &Text, expected: &'static [&'static str]) -> Result<(), CheckError> {
    if expected.contains(&value.as_str()) {
        Ok(())
    } else {
        Err(CheckError::Unknown { key, found: value.to_string(), expected })
    }
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

const DOWNLOADERS: [&str; 28] = [
    "almalinux-http",
    "alpaquita-http",
    "alpinelinux-http",
    "alt-http",
    "apertis-http",
    "archlinux-http",
    "busybox",
    "centos-http",
    "debootstrap",
    "docker-http",
    "fedora-http",
    "funtoo-http",
    "gentoo-http",
    "nixos-http",
    "openeuler-http",
    "opensuse-http",
    "openwrt-http",
    "oraclelinux-http",
    "plamolinux-http",
    "rockylinux-http",
    "rootfs-http",
    "rpmbootstrap",
    "sabayon-http",
    "slackware-http",
    "springdalelinux-http",
    "ubuntu-http",
    "voidlinux-http",
    "vyos-http",
];

const MANAGERS: [&str; 13] = [
    "anise",
    "apk",
    "apt",
    "dnf",
    "egoportage",
    "equo",
    "opkg",
    "pacman",
    "portage",
    "slackpkg",
    "xbps",
    "yum",
    "zypper",
];
