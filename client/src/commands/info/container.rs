//! What there is to say of a container.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::Serialize;
use terminal::human::{bytes, elapsed};
use terminal::{ExitStatus, Table};

use crate::context::Context;
use crate::runtime::{Container, End, Link, State, Usage};

#[derive(Serialize)]
struct Facts {
    name: String,
    state: State,
    pid: Option<i32>,
    /// Whether a monitor watches it.
    watched: bool,
    /// How its init ended, when it ended badly.
    end: Option<End>,
    ipv4: Vec<Ipv4Addr>,
    ipv6: Vec<Ipv6Addr>,
    autostart: bool,
    #[serde(flatten)]
    usage: Usage,
    links: Vec<Link>,
}

pub(crate) fn show(container: &Container, context: &Context) -> ExitStatus {
    let (status, addresses) = (container.status(), container.addresses());
    let facts = Facts {
        name: container.name().to_string(),
        state: status.state,
        pid: status.pid(),
        watched: status.is_watched,
        end: status.end,
        ipv4: addresses.ipv4,
        ipv6: addresses.ipv6,
        autostart: container.autostart().is_ok_and(|autostart| autostart.is_wanted),
        usage: container.usage(),
        links: container.links(),
    };
    let mut table = Table::new(["FACT", "VALUE"]);
    for (label, value) in lines(&facts) {
        table.row([label.to_owned(), value]);
    }
    context.printer.listing(context.format, &table, &facts);
    ExitStatus::Done
}

fn lines(facts: &Facts) -> Vec<(&'static str, String)> {
    let mut lines = vec![("Name", facts.name.clone()), ("State", facts.state.to_string())];
    lines.extend(facts.pid.map(|pid| ("PID", pid.to_string())));
    lines.extend(facts.end.map(|end| ("End", format!("its init {end}"))));
    let addresses = facts.ipv4.iter().map(ToString::to_string).chain(facts.ipv6.iter().map(ToString::to_string));
    lines.extend(addresses.map(|address| ("IP", address)));
    lines.push(("Autostart", if facts.autostart { "yes" } else { "no" }.to_owned()));
    if facts.pid.is_some() {
        let or_unknown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        lines.push(("Memory", or_unknown(facts.usage.memory_bytes.map(bytes))));
        let time = facts.usage.cpu_microseconds.map(|count| elapsed(Duration::from_micros(count)));
        lines.push(("CPU time", or_unknown(time)));
        lines.push(("Processes", or_unknown(facts.usage.processes.map(|count| count.to_string()))));
    }
    for link in &facts.links {
        let (received, sent) = (bytes(link.received_bytes), bytes(link.sent_bytes));
        lines.push(("Link", format!("{}: {received} received, {sent} sent", link.name)));
    }
    lines
}
