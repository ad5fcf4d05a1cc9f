//! `deploy/quickstart.sh` does the main job from build to a running container, and leaves nothing outside its
//! directory.

use std::fs;

use crate::support::{Program, debian_build, need, program};

#[test]
fn the_quickstart_builds_publishes_verifies_creates_and_runs_and_a_second_run_reuses_the_build() {
    need!(root, "mmdebstrap", "mksquashfs");
    let state = tempfile::tempdir().unwrap();
    // The long part, a build, has a promise of its own; here the script finds one and reuses it.
    let build = debian_build();
    let image = fs::read_to_string(build.join("build.json")).unwrap();
    let image: serde_json::Value = serde_json::from_str(&image).unwrap();
    let place = state.path().join("images").join(image["image"].as_str().unwrap());
    fs::create_dir_all(&place).unwrap();
    Program::new("cp").arg("-a").arg(&build).arg(&place).run().succeeds();
    let said = Program::new("sh")
        .arg(program::source().join("deploy/quickstart.sh"))
        .env("ROOTCELLAR_PROGRAMS", program::programs())
        .env("ROOTCELLAR_QUICKSTART_DIR", state.path())
        .run()
        .succeeds();
    for step in ["$ rootcellar create web1 debian/bookworm", "VERSION_CODENAME=bookworm", "\nrunning\n", "# Done."] {
        assert!(said.contains(step), "no `{step}` in:\n{said}");
    }
    assert!(!said.contains("$ rootcellar-builder build"), "{said}");
    assert!(!state.path().join("containers/web1").exists());
}
