//! `rootcellar wait`

use std::time::{Duration, Instant};

use formats::name::Name;
use terminal::ExitStatus;

use crate::context::Context;
use crate::runtime::{Container, Error, State};

/// Wait until a container is in a state.
///
/// The exit status is 0 when it is, and 1 when the time is over before.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The container.
    pub name: Name,

    /// The state, or states with `|` between them: STOPPED, STARTING, RUNNING, FROZEN, STOPPING, ABORTED.
    #[arg(id = "states", short = 's', long = "state", value_name = "STATE", value_parser = parse, default_value = "RUNNING")]
    pub states: States,

    /// How many seconds to wait at most; 0 only looks. Without it there is no limit.
    #[arg(short = 't', long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// One of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct States(Vec<State>);

/// Waits.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, Error> {
    let container = Container::open(&context.directories.containers, &args.name)?;
    let patience = args.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    loop {
        if args.states.0.contains(&container.status().state) {
            return Ok(ExitStatus::Done);
        }
        if patience.is_some_and(|patience| Instant::now() >= patience) {
            return Ok(ExitStatus::Refused);
        }
        std::thread::sleep(INTERVAL);
    }
}

fn parse(text: &str) -> Result<States, String> {
    let find = |word: &str| STATES.into_iter().find(|state| state.to_string().eq_ignore_ascii_case(word.trim()));
    let states = text.split('|').map(|word| find(word).ok_or_else(|| format!("`{word}` is no state")));
    states.collect::<Result<_, _>>().map(States)
}

const STATES: [State; 6] =
    [State::Stopped, State::Starting, State::Running, State::Frozen, State::Stopping, State::Aborted];
const INTERVAL: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_named_as_lxc_wait_names_them() {
        assert_eq!(parse("RUNNING").unwrap(), States(vec![State::Running]));
        assert_eq!(parse("stopped|ABORTED").unwrap(), States(vec![State::Stopped, State::Aborted]));
        assert_eq!(parse("ASLEEP").unwrap_err(), "`ASLEEP` is no state");
    }
}
