//! `rootcellar ls`

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;
use terminal::{ExitStatus, Table};

use crate::context::Context;
use crate::runtime::{self, Container, End, Error, State};

/// List containers and what they are doing.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Show more columns.
    #[arg(short = 'f', long)]
    pub fancy: bool,
}

/// One container of the listing.
#[derive(Serialize)]
struct Row {
    name: String,
    state: State,
    /// Its addresses, without those of the loopback and of the link.
    ipv4: Vec<Ipv4Addr>,
    ipv6: Vec<Ipv6Addr>,
    /// The pid of its init on the host.
    pid: Option<i32>,
    /// Whether a monitor watches it.
    watched: bool,
    /// Whether what carried its network has ended before it.
    lost_network: bool,
    /// How its init ended, when it ended badly.
    end: Option<End>,
    /// Whether it starts with the machine.
    autostart: bool,
}

/// Lists the containers.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, Error> {
    let rows: Vec<Row> = runtime::list(&context.directories.containers)?.iter().map(Row::new).collect();
    let mut table = Table::new(if args.fancy { &FANCY[..] } else { &FANCY[..2] });
    for row in &rows {
        let pid = row.pid.map_or("-".to_owned(), |pid| pid.to_string());
        let autostart = u8::from(row.autostart).to_string();
        let (ipv4, ipv6) = (joined(&row.ipv4), joined(&row.ipv6));
        let cells = [row.name.clone(), row.state.to_string(), ipv4, ipv6, autostart, pid, row.note()];
        table.row(cells.into_iter().take(if args.fancy { FANCY.len() } else { 2 }));
    }
    context.printer.listing(context.format, &table, &rows);
    Ok(ExitStatus::Done)
}

impl Row {
    fn new(container: &Container) -> Self {
        let (status, addresses) = (container.status(), container.addresses());
        Self {
            name: container.name().to_string(),
            state: status.state,
            ipv4: addresses.ipv4,
            ipv6: addresses.ipv6,
            pid: status.pid(),
            watched: status.is_watched,
            lost_network: status.has_lost_network,
            end: status.end,
            autostart: container.autostart().is_ok_and(|autostart| autostart.is_wanted),
        }
    }

    fn note(&self) -> String {
        match (self.state, self.end) {
            (State::Aborted, Some(end)) => format!("its init {end}"),
            (State::Aborted, None) => "its monitor and its init were killed".to_owned(),
            (State::Running, _) if !self.watched => "its monitor was killed".to_owned(),
            (State::Running, _) if self.lost_network => "what carried its network was killed".to_owned(),
            _ => "-".to_owned(),
        }
    }
}

fn joined(addresses: &[impl ToString]) -> String {
    if addresses.is_empty() {
        return "-".to_owned();
    }
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

const FANCY: [&str; 7] = ["NAME", "STATE", "IPV4", "IPV6", "AUTOSTART", "PID", "NOTE"];
