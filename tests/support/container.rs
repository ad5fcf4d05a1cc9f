//! A container of real LXC, for as long as a test runs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::program::{Outcome, Program};

/// A container below a path of its own. It is stopped and destroyed with this value.
pub(crate) struct LxcContainer {
    path: PathBuf,
    name: String,
}

impl LxcContainer {
    pub(crate) fn new(path: &Path, name: &str) -> Self {
        Self { path: path.to_owned(), name: name.to_owned() }
    }

    /// Starts it and waits until systemd says that everything is up.
    pub(crate) fn boots_to_running(&self) {
        self.lxc("lxc-start", &[]).run().succeeds();
        self.gets_running();
    }

    /// Waits until systemd says that everything is up in a container that was started.
    pub(crate) fn gets_running(&self) {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let state = self.lxc("lxc-attach", &["--", "systemctl", "is-system-running"]).run();
            if state.stdout().trim() == "running" {
                return;
            }
            if Instant::now() > deadline {
                let failed = self.lxc("lxc-attach", &["--", "systemctl", "--failed", "--no-pager"]).run();
                panic!("not running after 90 s: {state:?}\n{failed:?}");
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Stops it as an administrator would: systemd must end by itself, well before LXC loses patience.
    pub(crate) fn stops_cleanly(&self) {
        let begin = Instant::now();
        self.lxc("lxc-stop", &["-t", "60", "--nokill"]).run().succeeds();
        assert!(begin.elapsed() < Duration::from_mins(1), "it took {:?}", begin.elapsed());
        assert_eq!(self.lxc("lxc-info", &["-s", "-H"]).run().stdout().trim(), "STOPPED");
    }

    /// Runs a command in it.
    pub(crate) fn attach(&self, command: &[&str]) -> Outcome {
        self.lxc("lxc-attach", &["--"]).args(command).run()
    }

    fn lxc(&self, program: &str, args: &[&str]) -> Program {
        Program::new(program).arg("-P").arg(&self.path).args(["-n", &self.name]).args(args)
    }
}

impl Drop for LxcContainer {
    fn drop(&mut self) {
        let _ = self.lxc("lxc-stop", &["-k"]).run();
        let _ = self.lxc("lxc-destroy", &[]).run();
    }
}
