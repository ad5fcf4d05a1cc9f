//! A container's `config` and everything it includes, as one list of items.

use std::io;
use std::path::{Path, PathBuf};

use formats::lxc_config::LxcConfig;

use super::builtin;
use super::error::ConfigProblem;

/// One `key = value`, and the file it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) file: PathBuf,
}

/// Why a configuration could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    Io(PathBuf, io::Error),
    Problem(PathBuf, ConfigProblem),
}

/// Reads a configuration and, where `lxc.include` says so, others in its place: a file, or every `*.conf` of a
/// directory in alphabetical order (lxc.container.conf(5), INCLUDE FILES).
///
/// The files that LXC installs beside itself need not be there: our own equivalents of `common.conf` and `userns.conf`
/// stand in for any missing `…/lxc/config/*common.conf` and `*userns.conf`.
pub(crate) fn read(file: &Path) -> Result<Vec<Item>, ReadError> {
    let mut items = Vec::new();
    read_into(&mut items, file, 0)?;
    Ok(items)
}

fn read_into(items: &mut Vec<Item>, file: &Path, depth: usize) -> Result<(), ReadError> {
    let text = std::fs::read_to_string(file).map_err(|error| ReadError::Io(file.to_owned(), error))?;
    add(items, file, &text, depth)
}

fn add(items: &mut Vec<Item>, file: &Path, text: &str, depth: usize) -> Result<(), ReadError> {
    if depth > MAX_DEPTH {
        return Err(ReadError::Problem(file.to_owned(), ConfigProblem::IncludeDepth(MAX_DEPTH)));
    }
    for (key, value) in LxcConfig::parse(text).items() {
        if key == "lxc.include" {
            include(items, file, Path::new(value), depth + 1)?;
        } else {
            items.push(Item { key: key.to_owned(), value: value.to_owned(), file: file.to_owned() });
        }
    }
    Ok(())
}

fn include(items: &mut Vec<Item>, from: &Path, wanted: &Path, depth: usize) -> Result<(), ReadError> {
    if wanted.is_dir() {
        for file in conf_files(wanted)? {
            read_into(items, &file, depth)?;
        }
        return Ok(());
    }
    if wanted.is_file() {
        return read_into(items, wanted, depth);
    }
    match builtin::config(wanted) {
        Some(text) => add(items, wanted, text, depth),
        None => Err(ReadError::Problem(from.to_owned(), ConfigProblem::MissingInclude(wanted.to_owned()))),
    }
}

fn conf_files(directory: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let failed = |error| ReadError::Io(directory.to_owned(), error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "conf") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// liblxc has no limit and recurses until it crashes.
const MAX_DEPTH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(items: &[Item]) -> Vec<&str> {
        items.iter().map(|item| item.key.as_str()).collect()
    }

    #[test]
    fn includes_take_the_place_of_the_line_that_names_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("more")).unwrap();
        std::fs::write(path("more/2.conf"), "lxc.b = 2\n").unwrap();
        std::fs::write(path("more/1.conf"), "lxc.a = 1\n").unwrap();
        std::fs::write(path("more/README"), "lxc.never = 1\n").unwrap();
        std::fs::write(
            path("config"),
            format!("lxc.first = x\nlxc.include = {}\nlxc.last = y\n", path("more").display()),
        )
        .unwrap();
        assert_eq!(keys(&read(&path("config")).unwrap()), ["lxc.first", "lxc.a", "lxc.b", "lxc.last"]);
    }

    #[test]
    fn the_common_configuration_of_an_absent_lxc_is_our_own() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        std::fs::write(&config, "lxc.include = /nowhere/share/lxc/config/debian.common.conf\n").unwrap();
        assert!(keys(&read(&config).unwrap()).contains(&"lxc.cap.drop"));
    }

    #[test]
    fn a_missing_include_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        std::fs::write(&config, "lxc.include = /nowhere/mine.conf\n").unwrap();
        let Err(ReadError::Problem(file, problem)) = read(&config) else { panic!("was read") };
        assert_eq!((file, problem), (config, ConfigProblem::MissingInclude("/nowhere/mine.conf".into())));
    }

    #[test]
    fn a_file_that_includes_itself_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        std::fs::write(&config, format!("lxc.include = {}\n", config.display())).unwrap();
        assert!(matches!(read(&config), Err(ReadError::Problem(_, ConfigProblem::IncludeDepth(_)))));
    }
}
