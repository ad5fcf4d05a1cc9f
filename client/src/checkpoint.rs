//! Named points at which a test can kill the program.

/// Kills this process, as `kill -9` would, if the environment variable `ROOTCELLAR_CHECKPOINT` names this point.
/// Release builds do nothing.
pub fn checkpoint(name: &str) {
    if cfg!(debug_assertions) && std::env::var_os(VARIABLE).is_some_and(|wanted| wanted == name) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

const VARIABLE: &str = "ROOTCELLAR_CHECKPOINT";
