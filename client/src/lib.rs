//! The client: finds, fetches, verifies and caches images, and makes containers from them.
//!
//! One executable with two personalities, chosen by the name it is called by: `rootcellar` for people ([`cli`]), and
//! `lxc-download`, the template that liblxc runs ([`template`]). Both get every image through [`acquire`].
//!
//! ```text
//! remote ─→ repository ─→ catalog ─→ acquire ─→ cache ─→ container
//! (pinned)   (Verified<…>)  (one build)  (blobs)          (rootfs + config)
//! ```

pub mod acquire;
pub mod cache;
pub mod caller;
pub mod catalog;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod completion;
pub mod config;
pub mod container;
pub mod context;
pub mod directories;
pub mod doctor;
pub mod files;
mod login;
pub mod manual;
pub mod narrator;
pub mod remote;
pub mod repository;
pub mod runtime;
pub mod state;
pub mod template;
pub mod userns;

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// The whole program: [`template`] when called by a template's name, a process of [`runtime`] when executed by it, [`cli`]
/// otherwise.
///
/// No thread and no async runtime exists before a command asks for one: the embedded runtime forks.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().collect();
    if arguments.first().is_some_and(|name| is_template(Path::new(name))) {
        template::main(arguments.into_iter().skip(1))
    } else if arguments.get(1).is_some_and(|word| word == runtime::executable::STEP) {
        commands::internal_runtime::main(arguments.into_iter().skip(2))
    } else {
        cli::main(&arguments)
    }
}

/// liblxc runs `…/templates/lxc-NAME` with this base name as `argv[0]` (lxc `src/lxc/lxccontainer.c`,
/// `create_run_template`).
fn is_template(called_as: &Path) -> bool {
    called_as.file_name().is_some_and(|name| TEMPLATE_NAMES.iter().any(|known| name == *known))
}

/// `lxc-download` takes the place of the stock template; `lxc-rootcellar` stands beside it (`-t rootcellar`).
const TEMPLATE_NAMES: [&str; 2] = ["lxc-download", "lxc-rootcellar"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_between_program_and_template() {
        for name in ["lxc-download", "/usr/share/lxc/templates/lxc-download", "lxc-rootcellar"] {
            assert!(is_template(Path::new(name)), "{name}");
        }
        for name in ["rootcellar", "/usr/bin/rootcellar", "lxc-download.real", ""] {
            assert!(!is_template(Path::new(name)), "{name}");
        }
    }
}
