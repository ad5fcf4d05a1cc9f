//! Which containers need which: the files that LXC keeps of it, read and written as LXC does.
//!
//! ```text
//! <base>/lxc_snapshots    two lines for each container that needs this one: its containers directory, its name;
//!                         LXC before 1.1 wrote their number instead
//! <clone>/lxc_rdepends    the same for each container that this one needs
//! ```

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::files::{self, Owner};
use crate::runtime::backing::Backing;
use crate::runtime::config;

/// One container, wherever it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Link {
    pub(crate) containers: PathBuf,
    pub(crate) name: String,
}

impl Link {
    pub(crate) fn new(containers: &Path, name: &str) -> Self {
        Self { containers: containers.to_owned(), name: name.to_owned() }
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.containers.join(&self.name)
    }
}

/// The containers that need the one in this directory: those in its list that exist, and others beside it whose layers
/// are in it. Their names, in order; of an old list only the number.
pub(crate) fn of(directory: &Path) -> io::Result<Vec<String>> {
    let text = read(&directory.join(SNAPSHOTS))?;
    let mut found: Vec<Link> =
        parse(&text).into_iter().filter(|link| link.directory().join("config").exists()).collect();
    if let Some(containers) = directory.parent() {
        for entry in std::fs::read_dir(containers)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path != directory && !name.starts_with('.') && stands_on(&path, directory) {
                found.push(Link::new(containers, name));
            }
        }
    }
    found.sort();
    found.dedup();
    let mut names: Vec<String> = found.into_iter().map(|link| link.name).collect();
    if let (true, Some(count)) = (names.is_empty(), number(&text).filter(|count| *count > 0)) {
        names.push(format!("{count} that LXC does not name"));
    }
    Ok(names)
}

/// Whether one of the lower layers of the container in this directory is in the other.
fn stands_on(container: &Path, base: &Path) -> bool {
    let items = config::read(&container.join("config")).unwrap_or_default();
    let mut roots = items.iter().rev().filter(|item| item.key == "lxc.rootfs.path" || item.key == "lxc.rootfs");
    match roots.next().and_then(|item| item.value.parse().ok()) {
        Some(Backing::Overlay(overlay)) => overlay.lowers.iter().any(|lower| lower.starts_with(base)),
        _ => false,
    }
}

/// The containers that the one in this directory needs.
pub(crate) fn needed_by(directory: &Path) -> io::Result<Vec<Link>> {
    Ok(parse(&read(&directory.join(NEEDS))?))
}

/// Writes down what a container that is being made needs.
pub(crate) fn write_needs(directory: &Path, needs: &[Link]) -> io::Result<()> {
    if needs.is_empty() {
        return Ok(());
    }
    files::write_whole(&directory.join(NEEDS), format(needs).as_bytes(), 0o644, Owner::SELF)
}

/// Enters a container in the list of one it needs. Only with the lock of that one.
pub(crate) fn enter(base: &Link, clone: &Link) -> io::Result<()> {
    let path = base.directory().join(SNAPSHOTS);
    let text = read(&path)?;
    if let Some(count) = number(&text).filter(|count| *count > 0) {
        return files::write_whole(&path, format!("{}\n", count + 1).as_bytes(), 0o644, Owner::SELF);
    }
    let mut file = std::fs::File::options().append(true).create(true).open(path)?;
    file.write_all(format(std::slice::from_ref(clone)).as_bytes())?;
    file.sync_all()
}

/// Takes a container out of the list of one that it needed. Only with the lock of that one.
pub(crate) fn leave(base: &Link, clone: &Link) -> io::Result<()> {
    let path = base.directory().join(SNAPSHOTS);
    let text = read(&path)?;
    if let Some(count) = number(&text) {
        return match count {
            0 | 1 => files::remove_if_there(&path),
            count => files::write_whole(&path, format!("{}\n", count - 1).as_bytes(), 0o644, Owner::SELF),
        };
    }
    let left: Vec<Link> = parse(&text).into_iter().filter(|link| link != clone).collect();
    if left.is_empty() {
        return files::remove_if_there(&path);
    }
    files::write_whole(&path, format(&left).as_bytes(), 0o644, Owner::SELF)
}

fn read(path: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&files::read_if_there(path)?.unwrap_or_default()).into_owned())
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn parse(text: &str) -> Vec<Link> {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .chunks_exact(2)
        .filter_map(|pair| match pair {
            [containers, name] if !name.is_empty() && !name.contains('/') => {
                Some(Link::new(Path::new(containers), name))
            }
            _ => None,
        })
        .collect()
}

fn format(links: &[Link]) -> String {
    links.iter().fold(String::new(), |mut text, link| {
        let _ = writeln!(text, "{}\n{}", link.containers.display(), link.name);
        text
    })
}

const SNAPSHOTS: &str = "lxc_snapshots";
const NEEDS: &str = "lxc_rdepends";

#[cfg(test)]
mod tests {
    use super::*;

    fn container(containers: &Path, name: &str, config: &str) -> Link {
        std::fs::create_dir_all(containers.join(name)).unwrap();
        std::fs::write(containers.join(name).join("config"), config).unwrap();
        Link::new(containers, name)
    }

    #[test]
    fn who_enters_is_named_until_it_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let [base, web, api] = ["base", "web", "api"].map(|name| container(dir.path(), name, ""));
        for clone in [&web, &api] {
            enter(&base, clone).unwrap();
        }
        let written = std::fs::read_to_string(base.directory().join(SNAPSHOTS)).unwrap();
        assert_eq!(written, format!("{0}\nweb\n{0}\napi\n", dir.path().display()));
        assert_eq!(of(&base.directory()).unwrap(), ["api", "web"]);
        leave(&base, &web).unwrap();
        leave(&base, &api).unwrap();
        assert!(of(&base.directory()).unwrap().is_empty() && !base.directory().join(SNAPSHOTS).exists());
    }

    #[test]
    fn a_number_of_old_lxc_is_kept_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let [base, web] = ["base", "web"].map(|name| container(dir.path(), name, ""));
        std::fs::write(base.directory().join(SNAPSHOTS), "1\n").unwrap();
        enter(&base, &web).unwrap();
        assert_eq!(of(&base.directory()).unwrap(), ["2 that LXC does not name"]);
        leave(&base, &web).unwrap();
        leave(&base, &web).unwrap();
        assert!(of(&base.directory()).unwrap().is_empty());
    }

    #[test]
    fn who_is_in_no_list_is_found_by_its_layers_and_who_is_gone_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let base = container(dir.path(), "base", "");
        enter(&base, &Link::new(dir.path(), "gone")).unwrap();
        let root = base.directory().join("rootfs");
        container(dir.path(), "web", &format!("lxc.rootfs.path = overlay:{}:/web/delta\n", root.display()));
        container(dir.path(), "apart", "lxc.rootfs.path = overlay:/srv/base/rootfs:/web/delta\n");
        assert_eq!(of(&base.directory()).unwrap(), ["web"]);
    }
}
