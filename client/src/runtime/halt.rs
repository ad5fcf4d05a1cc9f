//! Which signal makes a container's init shut down.

use super::plan::Plan;
use super::process::Process;
use super::signal;

/// `lxc.signal.halt`; else what suits init. `None` when it takes none of the signals that could mean it.
///
/// liblxc asks a process that blocks SIGRTMIN+3 with that, for it is systemd, and every other with SIGPWR (lxc
/// `src/lxc/lxccontainer.c`, `do_lxcapi_shutdown`). The first process of a pid namespace gets no signal that it does not
/// handle, so where liblxc waits for nothing, we can tell: SIGTERM for a program that handles only that.
/// One that waits for signals in a system call does not show for which.
pub(crate) fn choose(plan: &Plan, init: Process) -> Option<i32> {
    if plan.halt_signal.is_some() {
        return plan.halt_signal;
    }
    let handling = init.signal_handling()?;
    if handling.blocks(signal::systemd_halt()) {
        return Some(signal::systemd_halt());
    }
    let handled = [libc::SIGPWR, libc::SIGTERM].into_iter().find(|signal| handling.handles(*signal));
    handled.or_else(|| init.waits_for_signals().then_some(libc::SIGPWR))
}
