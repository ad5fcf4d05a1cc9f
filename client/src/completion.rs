//! The names that can take the place of the last word of a command line: containers, images and builds that are cached,
//! remotes. Nobody is asked for them, and nothing is written; what cannot be read has no names.

mod line;

use std::path::PathBuf;

use clap::Command;
use formats::arch::Arch;
use formats::image::{ImageId, ImageQuery};
use formats::name::Name;

use crate::cache::{self, CurrentBuild};
use crate::config::Config;
use crate::directories::Directories;
use crate::remote::Origin;
use crate::runtime;

use line::Line;

/// The names for the last of these words, which follow the program's name.
pub fn names(program: &Command, words: &[String], directories: &Directories) -> Vec<String> {
    let line = Line::of(program, words);
    let mut directories = directories.clone();
    let typed = |id: &str| line.options.get(id).map(PathBuf::from);
    directories.containers = typed("containers").unwrap_or(directories.containers);
    directories.config = typed("config_dir").map_or(directories.config, |given| vec![given]);
    directories.cache = typed("cache").unwrap_or(directories.cache);
    let mut names = match (line.command.as_str(), line.argument.as_deref()) {
        ("create" | "fetch", Some("image")) | ("cache warm", Some("images")) | ("list", Some("pattern")) => {
            images(&line, &directories)
        }
        ("info", Some("thing")) => [containers(&directories), images(&line, &directories)].concat(),
        ("remote remove" | "remote trust", Some("name")) | (_, Some("remote")) => remotes(&config(&directories)),
        (command, Some("name")) if OF_CONTAINERS.contains(&command) => containers(&directories),
        _ => Vec::new(),
    };
    names.retain(|name| name.starts_with(line.word));
    names
}

fn containers(directories: &Directories) -> Vec<String> {
    let containers = runtime::list(&directories.containers).unwrap_or_default();
    containers.iter().map(|container| container.name().to_string()).collect()
}

fn config(directories: &Directories) -> Config {
    Config::load(directories).unwrap_or_default()
}

fn remotes(config: &Config) -> Vec<String> {
    config.remotes.keys().map(ToString::to_string).collect()
}

/// The cached images of the remote that is named, else of the default one, and the remotes. After `@` the builds.
fn images(line: &Line<'_>, directories: &Directories) -> Vec<String> {
    let config = config(directories);
    let (prefix, image) = match line.word.split_once(':') {
        Some((remote, image)) => (format!("{remote}:"), image),
        None => (String::new(), line.word),
    };
    let remote = prefix.strip_suffix(':').or_else(|| line.options.get("remote").copied());
    let remote = remote.map(str::parse::<Name>).transpose();
    let origin = remote.ok().and_then(|remote| Some(config.remote(remote.as_ref()).ok()?.1.origin()));
    let names = match (origin, image.split_once('@')) {
        (Some(origin), Some((image, _))) => builds(image, &origin, directories),
        (Some(origin), None) => {
            let cached = cache::glance(&directories.cache, &origin);
            let mut names: Vec<String> = cached.iter().flat_map(|(current, _)| names_of(current)).collect();
            names.sort();
            names.dedup();
            names
        }
        (None, _) => Vec::new(),
    };
    let mut names: Vec<String> = names.into_iter().map(|name| prefix.clone() + &name).collect();
    if prefix.is_empty() && !line.options.contains_key("remote") {
        names.extend(remotes(&config).into_iter().map(|remote| format!("{remote}:")));
    }
    names
}

/// What people type for an image: its id, and each shorter name that means this image on this host. What a server calls
/// an alias is a name only if it could be typed.
fn names_of(current: &CurrentBuild) -> Vec<String> {
    let ImageId { distribution, release, .. } = &current.image;
    let short = [format!("{distribution}/{release}")];
    let means = |name: &&String| {
        let aliases = current.aliases.iter().map(String::as_str);
        name.parse::<ImageQuery>().is_ok_and(|query| query.matches(&current.image, aliases, Arch::host()))
    };
    let shorter = short.iter().chain(&current.aliases).filter(means).cloned();
    shorter.chain([current.image.to_string()]).collect()
}

/// The cached builds of an image, the newest first.
fn builds(image: &str, origin: &Origin, directories: &Directories) -> Vec<String> {
    let Ok(query) = image.parse::<ImageQuery>() else { return Vec::new() };
    let is_it = |current: &CurrentBuild| {
        query.matches(&current.image, current.aliases.iter().map(String::as_str), Arch::host())
    };
    let found = cache::glance(&directories.cache, origin).into_iter().find(|(current, _)| is_it(current));
    let builds = found.map(|(_, builds)| builds).unwrap_or_default();
    builds.iter().map(|build| format!("{image}@{}", build.build.as_str())).collect()
}

/// The commands whose argument `name` is the name of a container that there is.
const OF_CONTAINERS: [&str; 13] = [
    "console", "copy", "destroy", "exec", "freeze", "logs", "restart", "restore", "snapshot", "start", "stop",
    "unfreeze", "wait",
];
