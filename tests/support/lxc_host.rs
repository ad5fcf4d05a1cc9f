//! A host with the LXC of another Debian release, our template in its place, and a server beside it.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use super::image::busybox_build;
use super::machine::{Machine, debian_tree};
use super::program::{self, Outcome};
use super::user::{hierarchies, remove_control_group};
use super::{TestServer, need};

/// Releases of Debian, and what the version of their LXC begins with.
const RELEASES: [(&str, &str); 2] = [("trixie", "6."), ("forky", "7.")];

/// Holds a promise on a host of each release. What this machine cannot run, or its mirror has not got, is said as a skip.
pub(crate) fn under_each_lxc(promise: impl Fn(&LxcHost)) {
    need!(root, "busybox", "ip", "mmdebstrap", "nsenter", "setpriv", "unshare");
    if std::env::var_os("ROOTCELLAR_TEST_NETWORK").is_none() {
        testkit::skip("downloads other versions of LXC only with ROOTCELLAR_TEST_NETWORK=1");
        return;
    }
    for (suite, version) in RELEASES {
        if let Some(host) = LxcHost::of(suite) {
            let found = host.sh("lxc-create --version").succeeds();
            assert!(found.starts_with(version), "{suite} has LXC {found}, expected {version}");
            promise(&host);
        }
    }
}

/// A host whose default remote is a server with an image of busybox. Its containers end with this value.
pub(crate) struct LxcHost {
    pub(crate) server: TestServer,
    machine: Machine,
    /// What the names of its containers begin with, and of no other host's: control groups are the real machine's.
    prefix: String,
}

impl LxcHost {
    /// `None`, said as a skip, where the release cannot be had.
    fn of(suite: &str) -> Option<Self> {
        let tree = debian_tree(suite, PACKAGES)?;
        let mut machine = Machine::new(&tree, "var/lib/lxc", DHCP);
        let (_directory, build) = busybox_build();
        let server = machine.server(&[&build]);
        machine.trust(&server, "test -s /run/lxc-test.pid");
        machine.copy(&program::ours("rootcellar"), "/usr/local/bin/rootcellar");
        let (url, fingerprint) = (&server.url, server.fingerprint());
        machine
            .sh(&format!(
                "rootcellar template install; rootcellar remote add default {url} --fingerprint {fingerprint}\n\
                 cp /etc/lxc/default.conf /etc/lxc/default.conf.debian; printf '{DEFAULT_CONF}' >/etc/lxc/default.conf\n\
                 echo root:{FIRST_ID}:65536 | tee /etc/subuid >/etc/subgid"
            ))
            .succeeds();
        let number = HOSTS.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{suite}-{}-{number}-", std::process::id());
        Some(Self { server, machine, prefix })
    }

    /// A name for a container.
    pub(crate) fn name(&self, purpose: &str) -> String {
        self.prefix.clone() + purpose
    }

    /// Runs a shell script on it.
    pub(crate) fn sh(&self, script: &str) -> Outcome {
        self.machine.sh(script)
    }

    /// Puts a file of the real host on it.
    pub(crate) fn copy(&self, from: &Path, to: &str) {
        self.machine.copy(from, to);
    }

    /// The names of its containers, and of anything else that a failed creation left.
    pub(crate) fn container_names(&self) -> Vec<String> {
        self.sh("ls /var/lib/lxc").succeeds().lines().map(str::to_owned).collect()
    }
}

impl Drop for LxcHost {
    /// What LXC leaves behind of control groups goes, too.
    fn drop(&mut self) {
        if self.machine.is_up() {
            let _ = self.sh("for name in $(ls -r /var/lib/lxc); do lxc-destroy -f -n $name || :; done");
        }
        self.machine.end();
        for hierarchy in hierarchies() {
            for entry in std::fs::read_dir(&hierarchy).into_iter().flatten().flatten() {
                if entry.file_name().to_str().is_some_and(|name| name.contains(&self.prefix)) {
                    remove_control_group(&entry.path());
                }
            }
        }
    }
}

static HOSTS: AtomicU32 = AtomicU32::new(0);

/// wget, xz and rsync are what the stock template and LXC's copies call, uidmap what mapped ids need.
const PACKAGES: &str = "lxc,python3-lxc,rsync,uidmap,wget,xz-utils";
/// Gives out addresses, at once. It is not the first process: it changes its rights, so its parent's end would not end it.
const DHCP: &str = "dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --port=0 --interface=lxcbr0 \
                     --bind-interfaces --dhcp-authoritative --no-ping --dhcp-range=10.0.3.10,10.0.3.60 \
                     --dhcp-leasefile=/run/lxc-test.leases --pid-file=/run/lxc-test.pid & wait";
/// The last line is for hosts with AppArmor, which has not seen this LXC's profiles.
const DEFAULT_CONF: &str = "lxc.net.0.type = veth\\nlxc.net.0.link = lxcbr0\\nlxc.net.0.flags = up\\n\
                            lxc.apparmor.profile = unconfined\\n";
/// The first id of the host that containers of root may map.
pub(crate) const FIRST_ID: u32 = 3_100_000;
