//! The cleaner: a process that removes what a killed monitor left behind.

use std::path::Path;

use terminal::ExitStatus;

use super::cgroup::Cgroup;
use super::error::{Error, failed};
use super::signal;
use super::state::StateDir;
use super::{network, sys, unmounted};

/// Removes a container's cgroups and its state directory. Who calls it has the container's lock and knows that nothing
/// runs; an init that was never let go is killed.
pub(crate) fn run(state: &Path) -> Result<ExitStatus, Error> {
    unmounted::mount_here(sys::require_single_thread()?)?;
    let state = StateDir::at(state).map_err(failed("use the state directory", state))?;
    let cgroup = Cgroup::of(&state)?;
    if let Some(pidfd) = state.record().and_then(|record| record.init).and_then(super::process::Process::open) {
        let _ = signal::send(pidfd, libc::SIGKILL);
    }
    if let Some(helper) = state.record().and_then(|record| record.helper) {
        network::end_helper(helper);
    }
    let map = state.plan().map(|plan| plan.idmap).unwrap_or_default();
    cgroup.remove(&map)?;
    state.remove()?;
    Ok(ExitStatus::Done)
}
