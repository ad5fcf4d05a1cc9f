//! Where each file of a repository lives, as paths relative to its root.
//!
//! ```text
//! images/<distribution>/<release>/<arch>/<variant>/<serial>/…     immutable
//! meta/1.0/index-{system,user}[.1 … .7][.asc]                     classic LXC
//! streams/v1/{index,images}.json, index.sjson                     Incus, LXD and our own client
//! streams/v1/<distribution>.<hash>.json                           products files, immutable names
//! keys/<fingerprint>.pgp                                          certificates, by each of their keys
//! ```

use crate::compat::{CompatLevel, Mode};
use crate::digest::Sha256;
use crate::image::ImageId;
use crate::name::Name;
use crate::serial::Serial;

/// The directory of a build, without a slash at either end.
pub fn build_dir(image: &ImageId, serial: &Serial) -> String {
    format!("images/{image}/{serial}")
}

/// A file of a build.
pub fn build_file(image: &ImageId, serial: &Serial, file: &str) -> String {
    format!("{}/{file}", build_dir(image, serial))
}

/// The classic index of a mode; `level` is `None` for the one without a suffix.
pub fn index(mode: Mode, level: Option<CompatLevel>) -> String {
    let suffix = level.map(|level| format!(".{level}")).unwrap_or_default();
    format!("meta/1.0/index-{mode}{suffix}")
}

/// The products file of one distribution. Its name holds the start of its content's digest, so a generation that is
/// being replaced is never torn, not even on a static mirror; Incus also caches by this base name.
pub fn products(distribution: &Name, content: &Sha256) -> String {
    format!("streams/v1/{distribution}.{}.json", &content.to_string()[..16])
}

/// A certificate, by its fingerprint in upper-case hexadecimal, or by that of a subkey: who has nothing but a signature
/// knows no other, and a static site can be asked nothing else.
pub fn certificate(fingerprint: &str) -> String {
    format!("keys/{fingerprint}.pgp")
}

/// The documents of another channel live below this prefix; stock clients take it as part of the server's name.
pub fn channel(channel: &Name) -> String {
    format!("c/{channel}")
}

/// The one document our client trusts: inline-signed, with serial, validity and the digest of every products file.
pub const SIGNED_INDEX: &str = "streams/v1/index.sjson";
/// The same content without a signature, for Incus and LXD.
pub const STREAMS_INDEX: &str = "streams/v1/index.json";
/// Every product in one file, for readers that expect this name.
pub const STREAMS_IMAGES: &str = "streams/v1/images.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_that_stock_clients_ask_for() {
        let image: ImageId = "debian/trixie/amd64/default".parse().unwrap();
        let serial: Serial = "20261123_0522".parse().unwrap();
        assert_eq!(
            build_file(&image, &serial, "rootfs.tar.xz"),
            "images/debian/trixie/amd64/default/20261123_0522/rootfs.tar.xz"
        );
        assert_eq!(index(Mode::User, None), "meta/1.0/index-user");
        assert_eq!(index(Mode::System, Some(CompatLevel::NEWEST)), "meta/1.0/index-system.7");
    }

    #[test]
    fn another_content_gives_a_products_file_another_name() {
        let debian: Name = "debian".parse().unwrap();
        assert_ne!(products(&debian, &Sha256::of(b"1")), products(&debian, &Sha256::of(b"2")));
    }
}
