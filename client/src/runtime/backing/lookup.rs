//! Looking for a path in layers that are not mounted, as the container will see them.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// Whether the path is there in what the layers, the uppermost first, show together. Links are followed from the root
/// of the layers, never to the host.
pub(crate) fn finds(layers: &[&Path], path: &Path) -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let roots: Vec<OwnedFd> =
        layers.iter().filter_map(|layer| openat(CWD, *layer, flags, Mode::empty()).ok()).collect();
    let mut rest: VecDeque<OsString> = parts(path);
    let mut at = PathBuf::new();
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        match look(&roots, &next) {
            Entry::Missing => return false,
            Entry::Other => at = next,
            Entry::Link(target) => {
                links += 1;
                if links > MAX_LINKS {
                    return false;
                }
                if target.is_absolute() {
                    at.clear();
                }
                let mut before = parts(&target);
                before.append(&mut rest);
                rest = before;
            }
        }
    }
    !roots.is_empty()
}

enum Entry {
    Missing,
    Link(PathBuf),
    Other,
}

/// What stands at a path, all parents of which are known to be no links.
fn look(roots: &[OwnedFd], path: &Path) -> Entry {
    use std::os::unix::ffi::OsStringExt;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    for root in roots {
        let found = match openat2(root, path, flags, Mode::empty(), resolve) {
            Ok(found) => found,
            Err(Errno::NOENT) => continue,
            // A file that hides the directories below it.
            Err(_) => return Entry::Missing,
        };
        let Ok(stat) = rustix::fs::fstat(&found) else { return Entry::Missing };
        return match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => match rustix::fs::readlinkat(&found, "", Vec::new()) {
                Ok(target) => Entry::Link(OsString::from_vec(target.into_bytes()).into()),
                Err(_) => Entry::Missing,
            },
            // A whiteout: something was deleted here.
            FileType::CharacterDevice if stat.st_rdev == 0 => Entry::Missing,
            _ => Entry::Other,
        };
    }
    Entry::Missing
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let wanted = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(wanted).map(|part| part.as_os_str().to_owned()).collect()
}

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_of_one_layer_leads_into_another() {
        let dir = tempfile::tempdir().unwrap();
        let (upper, lower) = (dir.path().join("upper"), dir.path().join("lower"));
        fs::create_dir_all(lower.join("usr/lib")).unwrap();
        fs::create_dir_all(upper.join("usr/lib/new")).unwrap();
        symlink("usr/lib", lower.join("lib")).unwrap();
        symlink("/usr/../lib", lower.join("absolute")).unwrap();
        let finds = |path: &str| super::finds(&[&upper, &lower], Path::new(path));
        assert!(finds("/lib/new") && finds("/absolute/new") && finds("/") && finds("usr/lib"));
        assert!(!finds("/lib/other") && !finds("/lib64"));
    }

    #[test]
    fn links_lead_to_the_layers_and_not_to_the_host_or_round_in_circles() {
        let dir = tempfile::tempdir().unwrap();
        symlink("/etc/passwd", dir.path().join("passwd")).unwrap();
        symlink("circle", dir.path().join("circle")).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        for path in ["passwd", "circle", "../../etc/passwd", "file/below"] {
            assert!(!finds(&[dir.path()], Path::new(path)), "{path}");
        }
    }

    #[test]
    fn what_was_deleted_in_an_upper_layer_is_not_there() {
        if !rustix::process::geteuid().is_root() {
            testkit::skip("only root makes whiteouts");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (upper, lower) = (dir.path().join("upper"), dir.path().join("lower"));
        fs::create_dir_all(lower.join("srv")).unwrap();
        fs::create_dir_all(&upper).unwrap();
        assert!(finds(&[&upper, &lower], Path::new("srv")));
        rustix::fs::mknodat(CWD, upper.join("srv"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        assert!(!finds(&[&upper, &lower], Path::new("srv")));
    }
}
