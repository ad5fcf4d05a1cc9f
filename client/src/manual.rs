//! What the manual pages say besides the command line: files, the environment, and the page of the template.

use terminal::{Body, Manual, Page, Section};

use crate::template::USAGE;

/// Of every page of the program.
pub const MANUAL: Manual<'static> = Manual { sections: &[FILES_SECTION, ENVIRONMENT_SECTION], pages: &[TEMPLATE] };

/// The variables that are read, and what each is for.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    ("ROOTCELLAR_CONFIG_DIR", "Where client.toml is. (--config-dir)"),
    (
        "ROOTCELLAR_STATE_DIR",
        "Where it is kept what was seen of servers: the newest index and certificates. (--state-dir)",
    ),
    ("ROOTCELLAR_CACHE_DIR", "Where verified files are kept. (--cache-dir)"),
    ("ROOTCELLAR_CONTAINERS", "Where containers are. (--path)"),
    (
        "ROOTCELLAR_LOG",
        "What is logged where --logpriority does not say: `debug`, or a filter such as \
         `rootcellar=debug,reqwest=trace`.",
    ),
    ("ROOTCELLAR_FINGERPRINT", "The key that lxc-download asks of its server. (its --fingerprint)"),
    ("ROOTCELLAR_CA", "A PEM file of certificates that lxc-download trusts besides the system's. (its --ca)"),
    (
        "LXC_CACHE_PATH",
        "Where LXC's own cache is: what the stock template fetched is used from there, and lxc-download keeps its \
         cache below.",
    ),
    (
        "https_proxy, http_proxy, all_proxy, no_proxy",
        "Proxies, as curl reads them; the loopback is never asked for through one.",
    ),
    ("NETRC", "The file with names and passwords for servers that ask for them, in place of ~/.netrc."),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "The certificates that are trusted for TLS, in place of the system's."),
    (
        "XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_CACHE_HOME, XDG_DATA_HOME, XDG_RUNTIME_DIR, HOME",
        "Where the directories of a plain user are.",
    ),
    ("PATH", "Where newuidmap, newgidmap, pasta and slirp4netns are looked for."),
    ("TERM, NO_COLOR", "Whether the terminal shows colours."),
];

/// What is read and written, for root and for plain users.
pub const FILES: &[(&str, &str)] = &[
    (
        "/etc/rootcellar/client.toml",
        "The configuration for everybody. `rootcellar remote config-template` prints one with every key explained.",
    ),
    ("~/.config/rootcellar/client.toml", "The configuration of one user, on top of it."),
    ("~/.netrc", "Names and passwords for servers that ask for them, as curl and wget read it."),
    (
        "/var/lib/rootcellar, ~/.local/state/rootcellar",
        "What was seen of servers; losing it loses the protection from older indexes.",
    ),
    ("/var/cache/rootcellar, ~/.cache/rootcellar", "Verified files. `rootcellar cache prune` makes room."),
    ("/var/lib/lxc, ~/.local/share/lxc", "Containers, unless lxc.lxcpath says otherwise."),
    ("/etc/lxc/lxc.conf, ~/.config/lxc/lxc.conf", "Where LXC has its containers (lxc.lxcpath)."),
    ("/etc/lxc/default.conf, ~/.config/lxc/default.conf", "How the configuration of a new container begins."),
];

const FILES_SECTION: Section<'static> = Section { title: "FILES", body: Body::Items(FILES) };
const ENVIRONMENT_SECTION: Section<'static> = Section { title: "ENVIRONMENT", body: Body::Items(ENVIRONMENT) };

const TEMPLATE: Page<'static> = Page {
    name: "lxc-download",
    about: "make an LXC container of a signed image",
    sections: &[
        Section {
            title: "SYNOPSIS",
            body: Body::Verbatim(
                "lxc-create -t download -n NAME -- [-d DIST] [-r RELEASE] [-a ARCH] [OPTION...]\n\
                 lxc-create -t download -n NAME -- --list",
            ),
        },
        Section {
            title: "DESCRIPTION",
            body: Body::Text(&[
                "The program rootcellar under the name of a template of lxc-create(1). `rootcellar template install` \
                 puts it in the place of the stock template, `rootcellar template install --beside` beside it, as \
                 `-t rootcellar`.",
                "It does what the stock template does, with the same options, and verifies every file by the key \
                 that is pinned for the server. Options may be shortened, repeated and mixed with other words as \
                 getopt(1) allows; of a repeated one the last counts.",
            ]),
        },
        Section { title: "OPTIONS", body: Body::Verbatim(USAGE) },
        Section { title: "DIFFERENCES FROM THE STOCK TEMPLATE", body: Body::Text(DIFFERENCES) },
        Section {
            title: "SEE ALSO",
            body: Body::Text(&["rootcellar(1), rootcellar-template(1), lxc-create(1), lxc.container.conf(5)"]),
        },
    ],
};

/// What scripts that read the stock template's words may notice.
const DIFFERENCES: &[&str] = &[
    "An error is said in our words on stderr, `error:` and `hint:`, after the stock template's line for it, where it has one, \
     on the stream where it has it: `ERROR: Couldn't find a matching image` and `ERROR: Invalid meta tarball.` on stdout, \
     the others on stderr. A missing configuration is noticed before the rootfs is unpacked.",
    "Every failure ends with 1. The stock template ends with 2 when tar fails.",
    "With --list and --help it ends with 1 when lxc-create runs it, so that no empty container is left, and with 0 \
     otherwise.",
    "A person at a terminal who is asked for the image sees every variant, and is asked for one where there is more than \
     the default one.",
    "A server without a pinned key is refused unless --trust-tls or the configuration does without.",
];
