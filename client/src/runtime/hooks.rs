//! `lxc.hook.*`: programs that run at certain moments of a container's life (lxc.container.conf(5), CONTAINER HOOKS).
//!
//! | hook | when | where |
//! |---|---|---|
//! | `pre-start` | before anything is made | the host, as who starts the container |
//! | `pre-mount` | before the root file system is mounted | the container's mounts, as its root |
//! | `mount`, `autodev` | when everything is mounted, before the root is changed | the same |
//! | `start-host` | before init is let go | the host |
//! | `start` | in place of init, a moment before it | the container |
//! | `stop`, `post-stop` | when the container has ended | the host |
//! | `destroy` | before the container's directory is deleted | the host |
//!
//! `clone` is not run. A hook that fails ends what it is a part of, but for those of the end.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::network::{Interface, InterfaceName};
use super::plan::Plan;
use super::sys;

/// A moment for a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Moment {
    PreStart,
    PreMount,
    Mount,
    Autodev,
    StartHost,
    Start,
    Stop,
    PostStop,
    Destroy,
}

impl Moment {
    fn name(self) -> &'static str {
        NAMES.into_iter().find(|(moment, _)| *moment == self).map_or("", |(_, name)| name)
    }
}

/// The hooks of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hooks {
    /// `lxc.hook.version` is 1: what there is to say is said in the environment only.
    says_nothing_in_arguments: bool,
    commands: Vec<(Moment, String)>,
}

impl Hooks {
    /// Takes the value of `lxc.hook.NAME`. An empty one clears. `false` for a name that is none.
    pub(crate) fn add(&mut self, name: &str, value: &str) -> bool {
        if name == "version" {
            self.says_nothing_in_arguments = value == "1";
            return true;
        }
        let Some((moment, _)) = NAMES.into_iter().find(|(_, known)| *known == name) else { return false };
        if value.is_empty() {
            self.commands.retain(|(other, _)| *other != moment);
        } else {
            self.commands.push((moment, value.to_owned()));
        }
        true
    }

    /// The commands of a moment, in order.
    pub(crate) fn of(&self, moment: Moment) -> impl Iterator<Item = &str> {
        self.commands.iter().filter(move |(other, _)| *other == moment).map(|(_, command)| command.as_str())
    }

    /// Runs the hooks of a moment here, one after the other, up to the first that fails. `more` goes to their
    /// environment.
    pub(crate) fn run(&self, subject: &Subject<'_>, moment: Moment, more: &[(&str, String)]) -> Result<(), String> {
        self.run_in(&|| Command::new(SHELL), subject, moment, more)
    }

    /// The same in the container, with nothing of the host's environment.
    pub(crate) fn run_inside(
        &self,
        subject: &Subject<'_>,
        moment: Moment,
        more: &[(&str, String)],
    ) -> Result<(), String> {
        let shell = || {
            let mut shell = Command::new(SHELL);
            shell.env_clear().env("PATH", super::plan::PATH);
            shell
        };
        self.run_in(&shell, subject, moment, more)
    }

    fn run_in(
        &self,
        shell: &dyn Fn() -> Command,
        subject: &Subject<'_>,
        moment: Moment,
        more: &[(&str, String)],
    ) -> Result<(), String> {
        for command in self.of(moment) {
            let mut process = shell();
            process.args(self.arguments(command, subject.name, "lxc", moment.name(), &[]));
            process.envs(self.environment(subject, "lxc", moment.name())).envs(more.iter().cloned());
            finish(process, &format!("lxc.hook.{}", moment.name()), command)?;
        }
        Ok(())
    }

    /// Runs a script of an interface.
    pub(crate) fn run_network_script(&self, plan: &Plan, command: &str, script: &NetworkScript) -> Result<(), String> {
        let mut process = Command::new(SHELL);
        process.args(self.arguments(command, &plan.name, "net", script.moment, &script.arguments()));
        process.envs(self.environment(&plan.subject(), "net", script.moment)).envs(script.environment());
        finish(process, &format!("lxc.net script.{}", script.moment), command)
    }

    /// What a shell is given to execute a command with what it is told: `sh -c 'exec COMMAND "$@"' sh NAME lxc MOMENT`.
    pub(crate) fn arguments(
        &self,
        command: &str,
        name: &str,
        section: &str,
        moment: &str,
        more: &[String],
    ) -> Vec<String> {
        let mut arguments = vec!["-c".to_owned(), format!("exec {command} \"$@\""), "sh".to_owned()];
        if !self.says_nothing_in_arguments {
            arguments.extend([name, section, moment].map(str::to_owned));
            arguments.extend_from_slice(more);
        }
        arguments
    }

    /// What hooks find in their environment.
    pub(crate) fn environment(
        &self,
        subject: &Subject<'_>,
        section: &str,
        moment: &str,
    ) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("LXC_NAME", subject.name.to_owned()),
            ("LXC_CONFIG_FILE", subject.config.display().to_string()),
            ("LXC_ROOTFS_PATH", subject.rootfs.to_owned()),
            ("LXC_HOOK_VERSION", u8::from(self.says_nothing_in_arguments).to_string()),
            ("LXC_CGNS_AWARE", "1".to_owned()),
            ("LXC_LOG_LEVEL", "ERROR".to_owned()),
        ];
        if self.says_nothing_in_arguments {
            environment.extend([("LXC_HOOK_SECTION", section.to_owned()), ("LXC_HOOK_TYPE", moment.to_owned())]);
        }
        environment
    }
}

/// What hooks are told of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) name: &'a str,
    pub(crate) config: &'a Path,
    /// The value of `lxc.rootfs.path` without its kind.
    pub(crate) rootfs: &'a str,
}

/// What a script of an interface is told.
pub(crate) struct NetworkScript {
    moment: &'static str,
    link: String,
    peer: String,
}

impl NetworkScript {
    /// `up` or `down`, for an interface whose end on the host has this name.
    pub(crate) fn new(moment: &'static str, interface: &Interface, peer: &InterfaceName) -> Self {
        let link = interface.link.as_ref().map(ToString::to_string).unwrap_or_default();
        Self { moment, link, peer: peer.to_string() }
    }

    fn arguments(&self) -> Vec<String> {
        vec!["veth".to_owned(), self.link.clone(), self.peer.clone()]
    }

    fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("LXC_NET_TYPE", "veth".to_owned()),
            ("LXC_NET_PARENT", self.link.clone()),
            ("LXC_NET_PEER", self.peer.clone()),
        ]
    }
}

/// Runs a command to its end. What it says goes where our own errors go.
fn finish(mut process: Command, key: &str, command: &str) -> Result<(), String> {
    let said = rustix::stdio::stderr().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from);
    sys::unblock_signals(&mut process);
    let status = process.stdin(Stdio::null()).stdout(said).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{key} = {command}` failed: {status}")),
        Err(error) => Err(format!("`{key} = {command}` cannot be run: {error}")),
    }
}

const SHELL: &str = "/bin/sh";
const NAMES: [(Moment, &str); 9] = [
    (Moment::PreStart, "pre-start"),
    (Moment::PreMount, "pre-mount"),
    (Moment::Mount, "mount"),
    (Moment::Autodev, "autodev"),
    (Moment::StartHost, "start-host"),
    (Moment::Start, "start"),
    (Moment::Stop, "stop"),
    (Moment::PostStop, "post-stop"),
    (Moment::Destroy, "destroy"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject<'static> {
        Subject { name: "web1", config: Path::new("/lxc/web1/config"), rootfs: "/lxc/web1/rootfs" }
    }

    #[test]
    fn hooks_are_told_by_arguments_and_by_environment() {
        let dir = tempfile::tempdir().unwrap();
        let said = dir.path().join("said");
        let script = dir.path().join("hook.sh");
        std::fs::write(&script, format!("echo \"$@ $LXC_ROOTFS_PATH $LXC_HOOK_TYPE\" >> {}\n", said.display()))
            .unwrap();
        for version in ["0", "1"] {
            let mut hooks = Hooks::default();
            assert!(hooks.add("version", version));
            assert!(hooks.add("pre-start", &format!("/bin/sh {} own", script.display())));
            hooks.run(&subject(), Moment::PreStart, &[]).unwrap();
            hooks.run(&subject(), Moment::PostStop, &[]).unwrap();
        }
        let said = std::fs::read_to_string(said).unwrap();
        assert_eq!(said, "own web1 lxc pre-start /lxc/web1/rootfs \nown /lxc/web1/rootfs pre-start\n");
    }

    #[test]
    fn the_first_hook_that_fails_ends_them_and_is_named() {
        let mut hooks = Hooks::default();
        hooks.add("stop", "/bin/true");
        hooks.add("stop", "/bin/false");
        hooks.add("stop", "/nonexistent");
        let reason = hooks.run(&subject(), Moment::Stop, &[]).unwrap_err();
        assert!(reason.contains("`lxc.hook.stop = /bin/false` failed"), "{reason}");
        hooks.add("stop", "");
        hooks.run(&subject(), Moment::Stop, &[]).unwrap();
        assert!(!hooks.add("clone", "/bin/true"));
    }
}
