//! What the promises stand on: a server's data, its commands, and the running server.

mod curl;
mod gateway;
mod http;
mod program;
mod server;

pub(crate) use curl::{Curl, Reply};
pub(crate) use gateway::Gateway;
pub(crate) use http::{Answer, Connection, request};
pub(crate) use program::{Outcome, is_installed, run};
pub(crate) use server::{Server, World, files_below};

/// Ends the test with a visible reason unless the programs of the peers are there.
macro_rules! need {
    ($($program:literal),+) => {
        for program in [$($program),+] {
            if !$crate::support::is_installed(program) {
                testkit::skip(format_args!("needs `{program}`, which is not installed"));
                return;
            }
        }
    };
}
pub(crate) use need;
