//! What the template was asked for.

use std::ffi::OsString;
use std::path::PathBuf;

use super::getopt::{self, UsageError};
use crate::files::Owner;

/// The template's options. Of a repeated one the last counts, as with the stock template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(super) struct Options {
    pub(super) help: bool,
    pub(super) list: bool,
    pub(super) verbose: bool,
    pub(super) dist: String,
    pub(super) release: String,
    pub(super) arch: String,
    /// Not given is not the same as empty: an empty one lists every variant.
    pub(super) variant: Option<String>,
    pub(super) server: Option<String>,
    pub(super) flush_cache: bool,
    pub(super) force_cache: bool,
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) rootfs: PathBuf,
    /// Who the caller is inside of the user namespace.
    pub(super) owner: Owner,
    pub(super) fingerprint: Option<String>,
    pub(super) channel: Option<String>,
    pub(super) ca: Option<PathBuf>,
    pub(super) trust_tls: bool,
    pub(super) accept_expired_index: bool,
    pub(super) allow_config_keys: Vec<String>,
}

impl Options {
    pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut options = Self::default();
        for (name, value) in getopt::parse(arguments)? {
            match name {
                "help" => options.help = true,
                "list" => options.list = true,
                "verbose" => options.verbose = true,
                "dist" => options.dist = value,
                "release" => options.release = value,
                "arch" => options.arch = value,
                "variant" => options.variant = Some(value),
                "server" => options.server = Some(value).filter(|server| !server.is_empty()),
                "flush-cache" => options.flush_cache = true,
                "force-cache" => options.force_cache = true,
                "name" => options.name = value,
                "path" => options.path = value.into(),
                "rootfs" => options.rootfs = value.into(),
                // liblxc passes -1 for "no map".
                "mapped-uid" => options.owner.uid = value.parse().ok(),
                "mapped-gid" => options.owner.gid = value.parse().ok(),
                "fingerprint" => options.fingerprint = Some(value),
                "channel" => options.channel = Some(value),
                "ca" => options.ca = Some(value.into()),
                "trust-tls" => options.trust_tls = true,
                "accept-expired-index" => options.accept_expired_index = true,
                "allow-config-key" => options.allow_config_keys.push(value),
                // `--keyid`, `--keyserver`, `--no-validate` and `--standard-resolver` tell a template of the GPG era
                // how to check signatures. Ours are checked by the pinned key, which none of them can weaken.
                _ => {}
            }
        }
        Ok(options)
    }

    /// Whether liblxc runs the template, and not a person.
    pub(super) fn is_for_container(&self) -> bool {
        !self.path.as_os_str().is_empty()
    }

    /// Whether the image is not fully named, so that the user has to choose.
    pub(super) fn is_interactive(&self) -> bool {
        self.dist.is_empty() || self.release.is_empty() || self.arch.is_empty()
    }

    /// The variant that is wanted.
    pub(super) fn variant(&self) -> &str {
        self.variant.as_deref().unwrap_or(formats::image::ImageId::DEFAULT_VARIANT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Options {
        Options::parse(line.iter().map(OsString::from)).unwrap()
    }

    #[test]
    fn a_map_of_minus_one_or_nothing_is_no_map() {
        assert_eq!(parse(&["--mapped-uid", "-1", "--mapped-gid="]).owner, Owner::SELF);
        assert_eq!(parse(&["--mapped-uid", "65536"]).owner.uid, Some(65536));
    }

    #[test]
    fn the_last_of_a_repeated_option_counts() {
        assert_eq!(parse(&["-d", "a", "--dist=b"]).dist, "b");
    }

    #[test]
    fn a_variant_that_is_not_given_is_the_default_one() {
        assert_eq!(parse(&[]).variant(), "default");
        assert_eq!(parse(&["--variant", ""]).variant(), "");
    }

    #[test]
    fn options_of_the_gpg_era_weaken_nothing() {
        let line = ["--no-validate", "--keyid", "x", "--keyserver=y", "--standard-resolver"];
        assert_eq!(parse(&line), Options::default());
    }
}
