//! When there is no room, a command says so, and what was published stays as it was.

use std::fs;
use std::path::Path;
use std::process::Command;

use testkit::FakeImage;

use crate::support::{Outcome, World, files_below, need, run};

const IMAGE: &str = "debian/trixie/amd64/default";

/// Runs the server's command lines of a script, which are those that start with `server`.
fn script(world: &World, wrapper: &[&str], text: &str) -> Outcome {
    let text = format!("server() {{ {} --data \"$data\" \"$@\"; }}\n{text}", env!("CARGO_BIN_EXE_rootcellar-server"));
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).args(["sh", "-euc", &text]).env("data", world.path("data"));
    command.env("new", world.path(&format!("builds/{IMAGE}/20261123_0522"))).env("scratch", world.path("."));
    run(&mut command)
}

/// An image whose files need more room than there will be.
fn large() -> FakeImage {
    // A xorshift generator: nothing makes this smaller.
    let noise = std::iter::successors(Some(0x2545_f491_4f6c_dd1d_u64), |state| {
        let state = state ^ (state << 13);
        let state = state ^ (state >> 7);
        Some(state ^ (state << 17))
    });
    let noise: Vec<u8> = noise.take(300_000).flat_map(u64::to_le_bytes).collect();
    FakeImage::new(IMAGE).serial("20261123_0522").file("noise", noise)
}

#[test]
fn a_full_file_system_stops_an_import_and_a_publish_and_harms_nothing() {
    need!("unshare");
    if !rustix::process::geteuid().is_root() {
        testkit::skip("needs root to mount a small file system");
        return;
    }
    let world = World::new();
    let old = world.build(&FakeImage::new(IMAGE).serial("20261122_0000"));
    world.build(&large());
    let small = world.build(&FakeImage::new("debian/bookworm/amd64/default").serial("20261123_0600"));
    let text = r#"
mkdir -p "$data"
mount -t tmpfs -o size=2m tmpfs "$data"
server import "$old" && server publish
before=$(readlink "$data/v1/current")
cp -r "$data/v1/current/" "$scratch/before"

status=0; server import "$new" 2>"$scratch/import" || status=$?
[ "$status" = 2 ] || exit 31
[ "$(readlink "$data/v1/current")" = "$before" ] && diff -r "$data/v1/current/" "$scratch/before" || exit 32
server verify || exit 33

server import --channel staging "$small"
head -c 100m /dev/zero >"$data/ballast" 2>/dev/null || true
status=0; server publish 2>"$scratch/publish" || status=$?
[ "$status" = 2 ] || exit 34
[ "$(readlink "$data/v1/current")" = "$before" ] && diff -r "$data/v1/current/" "$scratch/before" || exit 35

rm "$data/ballast"
server publish && server verify || exit 36
[ "$(readlink "$data/v1/current")" != "$before" ] || exit 37
ls "$data/v1/staging" >"$scratch/staging"
"#;
    let text = format!("old='{}' small='{}'\n{text}", old.display(), small.display());
    script(&world, &["unshare", "-m", "--propagation", "private"], &text).succeeds();
    for (command, file) in [("import", "rootfs.tar.xz"), ("publish", "")] {
        let said = fs::read_to_string(world.path(command)).unwrap();
        assert!(said.contains("No space left on device") && said.contains(file), "{command}: {said}");
    }
    assert_eq!(fs::read_to_string(world.path("staging")).unwrap(), "");
}

#[test]
fn a_limit_on_the_size_of_files_stops_an_import_and_a_publish_and_harms_nothing() {
    let world = World::publishing(&[FakeImage::new(IMAGE).serial("20261122_0000")]);
    world.build(&large());
    let (before, listing) = (world.current(), files_below(&world.data()));
    // The signal would end the program before it could say anything.
    let limited = |blocks: u32, command: &str| {
        let text = format!("trap '' XFSZ; ulimit -f {blocks}; server {command}");
        script(&world, &["env"], &text)
    };
    limited(100, "import \"$new\"").fails_with(2, "File too large");
    limited(0, "publish").fails_with(2, "File too large");
    assert_eq!(world.current(), before);
    assert_eq!(without_staging(&world.data()), listing);
    world.run(&["verify"]).succeeds();
    script(&world, &["env"], "server import \"$new\" && server publish").succeeds();
    assert_ne!(world.current(), before);
}

/// What a failed writer left is removed by the next.
fn without_staging(data: &Path) -> Vec<String> {
    files_below(data).into_iter().filter(|path| !path.starts_with("staging/")).collect()
}
