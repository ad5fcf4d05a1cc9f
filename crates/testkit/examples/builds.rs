//! Writes fake builds for benchmarks and prints their directories: `builds DIRECTORY IMAGES [SQUASHFS_MIB]` writes one
//! build of each of IMAGES images below DIRECTORY; with `SQUASHFS_MIB` they have files for Incus too, and a
//! `rootfs.squashfs` of that size, which is none but by its first bytes and cannot be compressed.

#![allow(clippy::expect_used, reason = "a fake that cannot be made ends the program")]

use std::fs;
use std::path::Path;

use formats::digest::{FileDigest, Sha256};
use formats::record::BuildFile;
use rootcellar_testkit::FakeImage;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| arguments.get(place).map_or(0, |text| text.parse().expect("a number"));
    let directory = Path::new(arguments.first().expect("a directory to write builds to"));
    let (images, squashfs_mib): (usize, usize) = (number(1), number(2));
    for image in 0..images {
        let image = FakeImage::new(&format!("fake{}/r{}/amd64/default", image / 100, image % 100));
        if squashfs_mib == 0 {
            show(&image.write(directory));
        } else {
            show(&write_large(&image.serial("20260102_0000").incus(), squashfs_mib << 20, directory));
        }
    }
}

fn write_large(image: &FakeImage, size_bytes: usize, directory: &Path) -> std::path::PathBuf {
    let (build, mut record, files) = (image.write(directory), image.record(), image.files());
    let squashfs = [b"hsqs".as_slice(), &noise(size_bytes)].concat();
    for fingerprint in record.fingerprints.iter_mut().filter(|one| one.rootfs == BuildFile::RootfsSquashfs) {
        fingerprint.sha256 = Sha256::of_all([files[&fingerprint.metadata].as_slice(), &squashfs]);
    }
    record.files.insert(BuildFile::RootfsSquashfs, FileDigest::of(&squashfs));
    fs::write(build.join(BuildFile::RootfsSquashfs.name()), squashfs).expect("room for a build");
    fs::write(build.join("build.json"), record.to_json()).expect("room for a build");
    build
}

#[allow(clippy::print_stdout, reason = "the output of the program")]
fn show(path: &Path) {
    println!("{}", path.display());
}

/// Bytes of a xorshift generator with a fixed seed.
fn noise(size_bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).take(size_bytes / 8).flatten().collect()
}
