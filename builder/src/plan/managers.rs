//! The package managers that distrobuilder knows, by their commands.

/// A package manager's commands, word by word (distrobuilder `managers/`). An operation that is empty needs nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    /// What a spec calls it.
    pub(crate) name: &'static str,
    /// Fetches the lists of what there is.
    pub(crate) refresh: Words,
    /// Upgrades what is installed.
    pub(crate) update: Words,
    /// Installs what follows.
    pub(crate) install: Words,
    /// Removes what follows.
    pub(crate) remove: Words,
    /// Removes what installing leaves behind.
    pub(crate) clean: Words,
    /// How it learns of a repository.
    pub(crate) repository: RepositoryStyle,
}

type Words = &'static [&'static str];

/// How a package manager learns of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RepositoryStyle {
    /// It cannot be told.
    None,
    /// The lines of apt, in one file for the entries of one name.
    Apt,
    /// A line of one file.
    Apk,
    /// A file of its own, whose text the spec gives.
    File { directory: &'static str, ending: &'static str },
    /// `zypper ar`.
    Zypper,
    /// `equo repo add`, or `enman add`.
    Equo,
}

impl Tool {
    /// The manager of that name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        TOOLS.iter().find(|tool| tool.name == name)
    }
}

/// yum calls itself what it is, but is dnf on newer systems and then wants dnf's options.
const YUM: &str = "case $(yum --help) in *--allowerasing*) set -- --allowerasing \"$@\" ;; esac\n\
                   exec yum -y \"$@\"\n";
const YUM_UPDATE: &str = "help=$(yum --help)\n\
                          case $help in *--nobest*) set -- \"$@\" --nobest ;; esac\n\
                          case $help in *--allowerasing*) set -- --allowerasing \"$@\" ;; esac\n\
                          exec yum -y \"$@\"\n";

const REPO_FILES: RepositoryStyle = RepositoryStyle::File { directory: "/etc/yum.repos.d", ending: ".repo" };

/// apt's cleaning is done from outside when the tree is tidied up, after the package cache has taken what it can use.
const TOOLS: &[Tool] = &[
    Tool {
        name: "apt",
        refresh: &["apt-get", "-y", "update"],
        update: &["apt-get", "-y", "dist-upgrade"],
        install: &["apt-get", "-y", "install"],
        remove: &["apt-get", "-y", "remove", "--auto-remove"],
        clean: &[],
        repository: RepositoryStyle::Apt,
    },
    Tool {
        name: "apk",
        refresh: &["apk", "--no-cache", "update"],
        update: &["apk", "--no-cache", "upgrade"],
        install: &["apk", "--no-cache", "add"],
        remove: &["apk", "--no-cache", "del", "--rdepends"],
        clean: &[],
        repository: RepositoryStyle::Apk,
    },
    Tool {
        name: "dnf",
        refresh: &["dnf", "-y", "makecache"],
        update: &["dnf", "-y", "upgrade", "--nobest"],
        install: &["dnf", "-y", "install", "--nobest"],
        remove: &["dnf", "-y", "remove"],
        clean: &["dnf", "-y", "clean", "all"],
        repository: REPO_FILES,
    },
    Tool {
        name: "yum",
        refresh: &["sh", "-c", YUM, "yum", "makecache"],
        update: &["sh", "-c", YUM_UPDATE, "yum", "update"],
        install: &["sh", "-c", YUM, "yum", "install"],
        remove: &["sh", "-c", YUM, "yum", "remove"],
        clean: &["sh", "-c", YUM, "yum", "clean", "all"],
        repository: REPO_FILES,
    },
    Tool {
        name: "zypper",
        refresh: &["zypper", "--non-interactive", "--gpg-auto-import-keys", "refresh"],
        update: &["zypper", "--non-interactive", "--gpg-auto-import-keys", "update"],
        install: &[
            "zypper",
            "--non-interactive",
            "--gpg-auto-import-keys",
            "install",
            "--allow-downgrade",
            "--replacefiles",
        ],
        remove: &["zypper", "--non-interactive", "--gpg-auto-import-keys", "remove"],
        clean: &["zypper", "--non-interactive", "--gpg-auto-import-keys", "clean", "-a"],
        repository: RepositoryStyle::Zypper,
    },
    Tool {
        name: "pacman",
        refresh: &["pacman", "--noconfirm", "-Syy"],
        update: &["pacman", "--noconfirm", "-Su"],
        install: &["pacman", "--noconfirm", "-S", "--needed"],
        remove: &["pacman", "--noconfirm", "-Rcs"],
        clean: &["pacman", "--noconfirm", "-Sc"],
        repository: RepositoryStyle::None,
    },
    Tool {
        name: "xbps",
        refresh: &["xbps-install", "--sync"],
        // The first may only renew the manager itself.
        update: &["sh", "-c", "xbps-install --yes --update && xbps-install --yes --update"],
        install: &["xbps-install", "--yes"],
        remove: &["xbps-remove", "--yes", "--recursive", "--remove-orphans"],
        clean: &["xbps-remove", "--yes", "--clean-cache"],
        repository: RepositoryStyle::None,
    },
    Tool {
        name: "portage",
        refresh: &[],
        update: &["emerge", "--update", "@world"],
        install: &["emerge", "--autounmask-continue"],
        remove: &["emerge", "--unmerge"],
        clean: &[],
        repository: RepositoryStyle::None,
    },
    Tool {
        name: "egoportage",
        refresh: &["ego", "sync"],
        update: &["emerge", "--update", "@world"],
        install: &["emerge", "--autounmask-continue", "--quiet-build=y"],
        remove: &["emerge", "--unmerge"],
        clean: &[],
        repository: RepositoryStyle::None,
    },
    Tool {
        name: "opkg",
        refresh: &["sh", "-c", "mkdir -p /var/lock && exec opkg update"],
        // It cannot: an upgrade of everything is beyond it.
        update: &[],
        install: &["opkg", "install"],
        remove: &["opkg", "remove"],
        clean: &["rm", "-rf", "/tmp/opkg-lists/"],
        repository: RepositoryStyle::None,
    },
    Tool {
        name: "slackpkg",
        refresh: &["slackpkg", "-batch=on", "-default_answer=y", "update"],
        update: &[],
        install: &["slackpkg", "-batch=on", "-default_answer=y", "install"],
        remove: &["slackpkg", "-batch=on", "-default_answer=y", "remove"],
        clean: &[],
        repository: RepositoryStyle::None,
    },
    Tool {
        name: "equo",
        refresh: &["equo", "update"],
        update: &["equo", "upgrade"],
        install: &["equo", "install"],
        remove: &["equo", "remove"],
        clean: &["equo", "cleanup"],
        repository: RepositoryStyle::Equo,
    },
    Tool {
        name: "anise",
        refresh: &["anise", "repo", "update", "--force"],
        update: &["anise", "upgrade", "--sync-repos", "--skip-config-protect"],
        install: &["anise", "install", "--skip-config-protect"],
        remove: &["anise", "uninstall", "--skip-config-protect"],
        clean: &["anise", "cleanup", "--purge-repos"],
        repository: RepositoryStyle::File { directory: "/etc/anise/repos.conf.d", ending: ".yml" },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manager_installs_and_removes_and_has_a_name_of_its_own() {
        for tool in TOOLS {
            assert!(!tool.install.is_empty() && !tool.remove.is_empty(), "{}", tool.name);
            assert_eq!(Tool::named(tool.name), Some(tool));
        }
        assert_eq!(Tool::named("aptitude"), None);
    }
}
