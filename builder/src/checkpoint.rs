//! Named points at which a test can kill the program.

/// Kills this process, as `kill -9` would, if the environment variable `ROOTCELLAR_CHECKPOINT` names this point of this
/// stage: `packages:worked`. Release builds do nothing.
pub(crate) fn checkpoint(stage: &str, point: &str) {
    if cfg!(debug_assertions) && std::env::var(VARIABLE).is_ok_and(|wanted| wanted == format!("{stage}:{point}")) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

const VARIABLE: &str = "ROOTCELLAR_CHECKPOINT";
