//! A step that takes too long, too much memory or too many processes is ended with everything it started.

use std::time::{Duration, Instant};

use crate::common::{World, output_of};

fn action(script: &str) -> String {
    format!("actions:\n- trigger: post-packages\n  action: |-\n    #!/bin/sh\n    {script}\n")
}

#[test]
fn each_step_has_its_own_time() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(&action(&format!("sleep {0} &\n    sleep {0}", world.mark)));
    let begun = Instant::now();
    let said = output_of(&world.build(&spec).args(["--step-timeout", "1s"]).assert().code(1)).1;
    assert!(begun.elapsed() < Duration::from_mins(2));
    assert!(
        said.contains("actions[0] (line 6) was killed: it ran longer than") && said.contains("`--step-timeout`"),
        "{said}"
    );
    assert!(said.contains("hint: `rootcellar-builder shell "), "{said}");
    assert_eq!(world.kept().len(), 1, "the tree is gone");
    assert_eq!(world.leftovers(), Vec::<String>::new());
    // Several steps may take longer together.
    let many = "- {trigger: post-files, action: \"#!/bin/sh\\nsleep 2\"}\n".repeat(3);
    let spec = world.spec(&format!("actions:\n{many}"));
    world.build(&spec).args(["--step-timeout", "5s", "--force"]).assert().success();
}

#[test]
fn the_memory_of_all_processes_of_a_step_is_counted() {
    let Some(world) = World::new() else { return };
    // `tail` keeps everything that has no line break.
    let hungry = "/bin/busybox tail /dev/zero";
    for script in [hungry.to_owned(), format!("{hungry} | cat & {hungry} | cat")] {
        let spec = world.spec(&action(&format!("(sleep {} & {script})", world.mark)));
        let said = output_of(&world.build(&spec).args(["--step-memory", "64M"]).assert().code(1)).1;
        let expected = ["actions[0] (line 6) was killed: its processes filled", "`--step-memory` allows 64", "hint: "];
        for expected in expected {
            assert!(said.contains(expected), "expected `{expected}` in: {said}");
        }
        assert_eq!(world.leftovers(), Vec::<String>::new());
    }
    let spec = world.spec(&action("echo enough > /etc/x"));
    world.build(&spec).args(["--step-memory", "64M", "--force"]).assert().success();
}

#[test]
fn what_is_in_memory_file_systems_is_limited_too() {
    let Some(world) = World::new() else { return };
    let fill = "/bin/busybox dd if=/dev/zero of=/dev/shm/x bs=1M count=200 2>/dev/null && exit 1\n    rm /dev/shm/x";
    let spec = world.spec(&action(fill));
    world.build(&spec).args(["--step-memory", "64M"]).assert().success();
}

#[test]
fn a_script_that_only_multiplies_is_ended() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(&action(&format!("bomb() {{ sleep {0} & bomb | bomb & }}\n    bomb; sleep {0}", world.mark)));
    let said = output_of(&world.build(&spec).args(["--timeout", "5m"]).assert().code(1)).1;
    assert!(said.contains("was killed: it had more than 2048 processes"), "{said}");
    assert_eq!(world.leftovers(), Vec::<String>::new());
}
