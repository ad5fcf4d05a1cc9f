//! Writes the store of a server for benchmarks: `store DATA IMAGES BUILDS DIRECTORY MORE` writes BUILDS builds of each of
//! IMAGES images, a hundred images to a distribution, and selects all of them in channel `stable`. Real imports would
//! take an hour. MORE newer builds, for real imports, are written below DIRECTORY, and their paths printed.
//!
//! Of each build there is what a publish reads: its record, which names the files of LXC, Incus and LXD with a
//! fingerprint of its own for each pair, and `meta.tar.xz`, which all builds share.

#![allow(clippy::expect_used, reason = "a fake that cannot be made ends the program")]

use std::fs;
use std::path::Path;

use formats::digest::Sha256;
use formats::image::ImageId;
use formats::layout;
use formats::record::{BuildFile, BuildRecord};
use formats::serial::Serial;
use formats::time::Span;
use rootcellar_testkit::FakeImage;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| -> usize { arguments[place].parse().expect("a number") };
    let data = Path::new(arguments.first().expect("a data directory")).join("v1");
    let pattern = FakeImage::new("fake0/r0/amd64/default").incus();
    let (record, files) = (pattern.record(), pattern.files());
    fs::create_dir_all(data.join("channels")).expect("room for a store");
    let metadata = data.join("channels/meta.tar.xz");
    fs::write(&metadata, &files[&BuildFile::MetaTarXz]).expect("room for a store");
    let mut builds = Vec::new();
    for image in 0..number(1) {
        let image: ImageId = format!("fake{}/r{}/amd64/default", image / 100, image % 100).parse().expect("an image");
        for build in 1..=number(2) {
            let serial: Serial = format!("202601{build:02}_0522").parse().expect("a serial");
            write(&data, &metadata, &of(&record, &image, &serial));
            builds.push(format!("{image}@{serial}"));
        }
    }
    fs::remove_file(metadata).expect("a file of ours");
    let list = builds.iter().map(|build| format!("\"{build}\"")).collect::<Vec<_>>().join(",");
    let channel = format!("{{\"format\":\"rootcellar-channel:2\",\"builds\":[{list}]}}");
    fs::write(data.join("channels/stable.json"), channel).expect("room for a store");
    for more in 0..number(4) {
        let image = FakeImage::new(&format!("fake{more}/r7/amd64/default")).serial("20260201_0522").incus();
        show(&image.write(Path::new(&arguments[3])));
    }
}

#[allow(clippy::print_stdout, reason = "the output of the program")]
fn show(path: &Path) {
    println!("{}", path.display());
}

/// The record of one build, like that of another.
fn of(pattern: &BuildRecord, image: &ImageId, serial: &Serial) -> BuildRecord {
    let created = serial.time().expect("the time of a serial");
    let mut record = BuildRecord {
        image: image.clone(),
        serial: serial.clone(),
        created,
        cache_expiry: created + Span::from_days(30),
        ..pattern.clone()
    };
    for fingerprint in &mut record.fingerprints {
        fingerprint.sha256 =
            Sha256::of(format!("{image}@{serial} {} {}", fingerprint.metadata, fingerprint.rootfs).as_bytes());
    }
    record
}

fn write(data: &Path, metadata: &Path, record: &BuildRecord) {
    let directory = data.join(layout::build_dir(&record.image, &record.serial));
    fs::create_dir_all(&directory).expect("room for a build");
    fs::write(directory.join("build.json"), record.to_json()).expect("room for a build");
    fs::hard_link(metadata, directory.join(BuildFile::MetaTarXz.name())).expect("a link");
}
