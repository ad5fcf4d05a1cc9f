//! What people call an image finds it: a release by its number, and a distribution by its name alone.

use testkit::FakeImage;

use crate::support::{TestHost, TestServer};

#[test]
fn a_distribution_alone_means_its_newest_release_and_the_host() {
    let arch = formats::arch::Arch::host().expect("the architecture of this host has a name");
    let image = |release: &str, variant: &str| FakeImage::new(&format!("debian/{release}/{arch}/{variant}"));
    let parents: Vec<_> = [
        image("bookworm", "default").alias("debian/12"),
        image("trixie", "default").alias("debian/13"),
        image("trixie", "cloud").alias("debian/13/cloud"),
        image("sid", "default"),
    ]
    .iter()
    .map(|image| {
        let parent = tempfile::tempdir().expect("a directory for a build");
        (image.write(parent.path()), parent)
    })
    .collect();
    let builds: Vec<_> = parents.iter().map(|(build, _)| build.as_path()).collect();
    let server = TestServer::publishing(&builds);
    let host = TestHost::trusting(&server);
    for (typed, found) in [
        ("debian", "trixie/default"),
        ("debian/13", "trixie/default"),
        ("debian/cloud", "trixie/cloud"),
        ("debian/12", "bookworm/default"),
        ("debian/sid", "sid/default"),
    ] {
        let (release, variant) = found.split_once('/').expect("two parts");
        let said = host.run(&format!("fetch {typed}"));
        assert!(said.succeeds().contains(&format!("debian/{release}/{arch}/{variant}@")), "{typed}: {said:?}");
    }
}
