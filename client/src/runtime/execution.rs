//! Running something in a container that runs.

use std::process::Command;

use super::error::{Error, failed};
use super::state::End;
use super::status::State;
use super::{Container, executable, join};

/// A command to run in a container.
#[derive(Clone, Debug)]
pub struct ExecOptions {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// Whom it runs as, by name or number in the container.
    pub user: String,
    /// Leaves out what the container's configuration sets.
    pub clear_environment: bool,
    /// Added to the environment, each `NAME=VALUE`.
    pub environment: Vec<String>,
    /// The working directory in the container.
    pub directory: String,
    /// No program gets more rights than the command has, be it set-uid or with file capabilities.
    pub no_new_privileges: bool,
}

impl ExecOptions {
    /// The command as root, in `/`, with the container's environment.
    pub fn new<T: Into<String>>(command: impl IntoIterator<Item = T>) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            user: "0".to_owned(),
            clear_environment: false,
            environment: Vec::new(),
            directory: "/".to_owned(),
            no_new_privileges: false,
        }
    }
}

impl Container {
    /// Runs a command in the container, with the standard streams of the calling program, and waits for its end. A
    /// stream that is a terminal becomes a pseudo terminal of the container.
    pub fn exec(&self, options: &ExecOptions) -> Result<End, Error> {
        self.exec_command(options, |command| {
            use std::os::unix::process::ExitStatusExt;
            let status = command.status()?;
            Ok(match status.code() {
                Some(code) => End::Exited(code),
                None => End::Killed(status.signal().unwrap_or(libc::SIGKILL)),
            })
        })
    }

    /// Like [`Container::exec`], in place of the calling program. Returns only when that is not possible.
    pub fn exec_in_place(&self, options: &ExecOptions) -> Error {
        use std::os::unix::process::CommandExt;
        match self.exec_command(options, |command| Err::<std::convert::Infallible, _>(command.exec())) {
            Err(error) => error,
            Ok(never) => match never {},
        }
    }

    fn exec_command<T>(
        &self,
        options: &ExecOptions,
        run: impl FnOnce(&mut Command) -> std::io::Result<T>,
    ) -> Result<T, Error> {
        use std::os::fd::AsRawFd;
        let request = self.request(options)?;
        let request = executable::pass(&request).map_err(failed("write", "the request"))?;
        let map = self.state.plan()?.idmap;
        let (mut command, _kept) =
            self.executable.protected_command(&map).map_err(failed("protect", "/proc/self/exe"))?;
        command.arg("join").arg(request.as_raw_fd().to_string());
        run(&mut command).map_err(failed("execute", "/proc/self/exe"))
    }

    fn request(&self, options: &ExecOptions) -> Result<join::Request, Error> {
        let status = self.status();
        if status.state == State::Frozen {
            return Err(Error::Frozen { name: self.name.to_string() });
        }
        let (Some(init), State::Running | State::Stopping) = (status.init, status.state) else {
            return Err(self.not_running());
        };
        Ok(join::Request {
            state: self.state.path().to_owned(),
            init,
            command: options.command.clone(),
            user: options.user.clone(),
            clear_environment: options.clear_environment,
            environment: options.environment.clone(),
            directory: options.directory.clone(),
            no_new_privileges: options.no_new_privileges,
        })
    }

    /// Runs a function of the calling program in the container, as root there, and waits for its end: in a child of the
    /// calling program, which must have one thread. What the function returns is the exit status. It keeps the
    /// program's environment and memory, and of its open files the standard streams alone.
    ///
    /// Root of a container without mapped ids could reach the calling program through that child: attach to those
    /// whose root you trust, and execute commands in others.
    pub fn attach(&self, mut function: impl FnMut() -> u8) -> Result<End, Error> {
        let request = self.request(&ExecOptions::new([""]))?;
        join::run_function(request, self.state.plan()?, self.state.clone(), &mut function)
    }
}
