//! Signals by name and number, those of real time included.

use std::os::fd::{AsFd, AsRawFd};

/// Reads `SIGPWR`, `PWR`, `SIGRTMIN+3`, `RTMAX-1` or `37`, as `lxc.signal.halt` takes them.
pub(crate) fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=libc::SIGRTMAX()).contains(&number).then_some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        return real_time(libc::SIGRTMIN() + offset_of(offset, '+')?);
    }
    if let Some(offset) = name.strip_prefix("RTMAX") {
        return real_time(libc::SIGRTMAX() - offset_of(offset, '-')?);
    }
    format!("SIG{name}").parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
}

/// What tells systemd as the first process of a container to shut down (systemd(1), SIGNALS).
pub(crate) fn systemd_halt() -> i32 {
    libc::SIGRTMIN() + 3
}

/// Sends a signal to the process behind a pidfd.
#[allow(unsafe_code, reason = "rustix and nix have no names for the signals of real time")]
pub(crate) fn send(pidfd: impl AsFd, signal: i32) -> std::io::Result<()> {
    // SAFETY: the call reads four integers and no memory: the third argument, a `siginfo_t`, is null.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_fd().as_raw_fd(), signal, std::ptr::null::<u8>(), 0)
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

fn offset_of(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() { Some(0) } else { text.strip_prefix(sign)?.parse().ok() }
}

fn real_time(number: i32) -> Option<i32> {
    (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_offsets_are_read() {
        assert_eq!(parse("SIGPWR"), Some(libc::SIGPWR));
        assert_eq!(parse("TERM"), Some(15));
        assert_eq!(parse("SIGRTMIN+3"), Some(systemd_halt()));
        assert_eq!(parse("RTMAX-1"), Some(63));
        assert_eq!(parse("9"), Some(9));
    }

    #[test]
    fn anything_else_is_no_signal() {
        for text in ["", "SIG", "0", "65", "-1", "SIGRTMIN+99", "RTMIN-3", "sigterm", "SIGRTMIN3"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_signal_of_real_time_reaches_the_process() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = super::super::process::Process::find(child.id().cast_signed()).unwrap();
        send(process.open().unwrap(), systemd_halt()).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(systemd_halt()));
    }
}
