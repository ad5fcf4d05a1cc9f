//! What the promises stand on: the programs, a server, a host, an image, a user.

pub(crate) mod container;
pub(crate) mod host;
pub(crate) mod image;
pub(crate) mod incus;
pub(crate) mod lxc_host;
pub(crate) mod machine;
pub(crate) mod mirror;
pub(crate) mod network;
pub(crate) mod program;
pub(crate) mod server;
pub(crate) mod slow;
pub(crate) mod user;

pub(crate) use host::TestHost;
pub(crate) use image::{debian_build, fake_build};
pub(crate) use program::{Outcome, Program};
pub(crate) use server::TestServer;

/// Ends the test with a visible reason unless it runs as root and the programs of the peers are there.
macro_rules! need {
    (root $(, $program:literal)*) => {
        if !rustix::process::geteuid().is_root() {
            testkit::skip("needs root");
            return;
        }
        need!($($program),*);
    };
    ($($program:literal),*) => {
        for program in [$($program),*] as [&str; _] {
            if !$crate::support::program::is_installed(program) {
                testkit::skip(format_args!("needs `{program}`, which is not installed"));
                return;
            }
        }
    };
}
pub(crate) use need;
