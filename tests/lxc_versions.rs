//! Our template under newer versions of LXC than the host's: those of the Debian releases that have them.
//!
//! Each promise is held under each of them, in a tree of that release where `rootcellar template install` was called.

use crate::support::lxc_host::{FIRST_ID, LxcHost, under_each_lxc};
use crate::support::program::source;
use crate::support::{Program, debian_build, need};

#[test]
fn a_container_made_by_our_template_starts_runs_and_stops() {
    under_each_lxc(|host| {
        for (template, purpose) in [("download", "name"), (OURS, "path")] {
            let name = host.name(purpose);
            let said = create(host, template, &name);
            assert!(said.ends_with("You just created a fake container.\n"), "{said}");
            runs_and_ends(host, &name);
        }
    });
}

#[test]
fn a_debian_made_by_our_template_boots_to_running() {
    under_each_lxc(|host| {
        host.server.publish(&debian_build());
        let name = host.name("debian");
        host.sh(&format!("lxc-create -n {name} -t download -- -d debian -r bookworm -a amd64")).succeeds();
        host.sh(&format!("lxc-start -n {name}")).succeeds();
        let state = format!("lxc-attach -n {name} -- systemctl is-system-running --wait");
        host.sh(&format!("timeout 90 sh -c 'until {state} | grep -qx running; do sleep 0.5; done'")).succeeds();
        host.sh(&format!("lxc-stop -n {name} -t 60 --nokill; lxc-destroy -n {name}")).succeeds();
    });
}

#[test]
fn both_templates_leave_the_same_configuration() {
    under_each_lxc(|host| {
        host.sh(&format!("printf '{EVERY_KIND_OF_LINE}' >/etc/lxc/several.conf")).succeeds();
        for config in ["default.conf.debian", "several.conf"] {
            let name = host.name("same");
            let [ours, theirs] = [OURS, STOCK].map(|template| {
                create(host, &format!("{template} -f /etc/lxc/{config}"), &name);
                host.sh(&format!("cat /var/lib/lxc/{name}/config; lxc-destroy -n {name} >&2")).succeeds()
            });
            assert_eq!(ours, theirs.replacen(STOCK, OURS, 1));
            assert!(ours.starts_with(&format!("# Template used to create this container: {OURS}\n")), "{ours}");
        }
    });
}

#[test]
fn the_stock_template_finds_its_index_at_the_first_request_and_its_container_runs() {
    under_each_lxc(|host| {
        let name = host.name("stock");
        create(host, STOCK, &name);
        runs_and_ends(host, &name);
        let log = host.server.log();
        assert!(log.contains("index-system.7") && !log.contains("status=404"), "{log}");
    });
}

#[test]
fn a_list_that_lxc_create_shows_leaves_no_container() {
    under_each_lxc(|host| {
        let list = host.sh(&format!("{OURS} --list")).succeeds();
        assert!(list.contains("\nbusybox          1.35        amd64  default  20261123_0522 \n"), "{list}");
        // The stock one ends with 0, so LXC keeps an empty container.
        for (template, code, names) in [("download", 1, vec![]), (STOCK, 0, vec![host.name("list")])] {
            let name = host.name("list");
            let server = host.server.host_and_port();
            let command = format!("lxc-create -t {template} -n {name} -- --list --server {server}");
            let outcome = host.sh(&format!("{command} && code=0 || code=$?; echo $code"));
            assert_eq!(outcome.succeeds(), format!("{list}{code}\n"), "{outcome:?}");
            assert_eq!(host.container_names(), names);
        }
    });
}

#[test]
fn the_old_dialect_is_refused_by_lxc_itself_and_works_when_lxc_has_converted_it() {
    under_each_lxc(|host| {
        let name = host.name("old");
        host.sh("printf 'lxc.network.type = veth\\nlxc.network.link = lxcbr0\\n' >/etc/lxc/old.conf").succeeds();
        let command = format!("lxc-create -t download -f /etc/lxc/old.conf -n {name} -- {IMAGE}");
        let outcome = host.sh(&command);
        outcome.fails_with(1, "Unsupported config key \"lxc.network.type\"");
        assert!(!outcome.stdout().contains("image"), "the template has run: {outcome:?}");
        assert_eq!(host.container_names(), [] as [&str; 0]);
        host.sh("lxc-update-config -c /etc/lxc/old.conf").succeeds();
        host.sh(&command).succeeds();
        runs_and_ends(host, &name);
    });
}

#[test]
fn a_container_of_root_with_mapped_ids_is_filled_in_its_namespace_and_runs() {
    under_each_lxc(|host| {
        let name = host.name("mapped");
        let map = format!("lxc.idmap = u 0 {FIRST_ID} 65536\\nlxc.idmap = g 0 {FIRST_ID} 65536\\n");
        host.sh(&format!("printf '{map}' | cat - /etc/lxc/default.conf >/etc/lxc/mapped.conf")).succeeds();
        // The root of the container passes through.
        host.sh("chmod 755 /var/lib/lxc").succeeds();
        create(host, "download -f /etc/lxc/mapped.conf", &name);
        let owners = host.sh(&format!("cd /var/lib/lxc/{name}; stat -c '%u %a' config rootfs/etc/hostname")).succeeds();
        assert_eq!(owners, format!("0 640\n{FIRST_ID} 644\n"));
        runs_and_ends(host, &name);
    });
}

#[test]
fn a_container_of_a_plain_user_is_filled_in_its_namespace_and_runs() {
    under_each_lxc(|host| {
        let name = host.name("plain");
        host.sh(PLAIN_USER).succeeds();
        let image = format!("runuser -l ana -c 'lxc-create -t download -n {name} -- {IMAGE}'");
        assert!(host.sh(&image).succeeds().contains("Unpacking the rootfs\n"));
        let owners = format!("cd /home/ana/.local/share/lxc/{name}; stat -c '%U %a' config; stat -c %u rootfs/bin");
        let first = host.sh("sed -n 's/ana:\\(.*\\):.*/\\1/p' /etc/subuid").succeeds();
        assert_eq!(host.sh(&owners).succeeds(), format!("ana 640\n{first}"));
        // As in a login session, in a control group of the user's own.
        host.sh(&format!(
            "group=/sys/fs/cgroup/{name}; mkdir $group; chown ana $group $group/cgroup.procs; echo $$ >$group/cgroup.procs\n\
             runuser -l ana -c 'lxc-start -n {name} && lxc-attach -n {name} -- hostname && lxc-destroy -f -n {name}'"
        ))
        .succeeds();
        assert_eq!(host.sh("ls /home/ana/.local/share/lxc").succeeds(), "");
    });
}

#[test]
fn containers_of_our_own_command_run_under_lxc_and_by_our_runtime() {
    under_each_lxc(|host| {
        let name = host.name("own");
        host.sh(&format!("rootcellar create {name} busybox/1.35")).succeeds();
        starts_and_stops(host, &name);
        host.sh(&format!("rootcellar start {name}")).succeeds();
        gets_an_address(host, "rootcellar ls --fancy");
        assert_eq!(host.sh(&format!("rootcellar exec {name} -- hostname")).succeeds().trim(), name);
        host.sh(&format!("rootcellar stop {name}; rootcellar destroy {name}")).succeeds();
        assert_eq!(host.container_names(), [] as [&str; 0]);
    });
}

#[test]
fn a_c_program_that_was_compiled_for_an_older_lxc_gets_its_container() {
    need!("gcc", "lxc-dev");
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("life");
    let compiler = Program::new("gcc").args(["-Wall", "-Werror", "-o"]).arg(&program);
    compiler.arg(source().join("tests/lxc_api/life.c")).arg("-llxc").run().succeeds();
    under_each_lxc(|host| {
        host.copy(&program, "/root/life");
        let said = host.sh(&format!("/root/life {}", host.name("c"))).succeeds();
        assert!(said.ends_with("destroy: ok\nundefined after: ok\n"), "{said}");
    });
}

#[test]
fn python_programs_create_run_and_clone_containers() {
    under_each_lxc(|host| {
        for program in ["life.py", "clones.py"] {
            host.copy(&source().join("tests/lxc_api").join(program), &format!("/root/{program}"));
            let names = ["base", "web", "site"].map(|purpose| host.name(purpose));
            let names = if program == "life.py" { &names[..1] } else { &names };
            let said = host.sh(&format!("python3 /root/{program} {}", names.join(" "))).succeeds();
            assert!(said.ends_with("done\n"), "{said}");
        }
        assert_eq!(host.container_names(), [] as [&str; 0]);
    });
}

#[test]
fn the_doctor_looks_at_every_option_of_the_kernel_that_lxc_checkconfig_looks_at() {
    let of_old_kernels = ["CGROUP_MEM_RES_CTLR", "NF_NAT_IPV4", "NF_NAT_IPV6", "SECURITY_FILE_CAPABILITIES"];
    under_each_lxc(|host| {
        host.sh(WITHOUT_OPTIONS).succeeds();
        let said = host.sh("rootcellar doctor || [ $? = 1 ]").succeeds();
        let missed: Vec<_> = said.split_whitespace().filter_map(|word| word.strip_prefix("CONFIG_")).collect();
        let script = host.sh("cat /usr/bin/lxc-checkconfig").succeeds();
        let end = |c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        let options = script.split("is_enabled CONFIG_").skip(1).filter_map(|rest| rest.split(end).next());
        for option in options.filter(|option| !of_old_kernels.contains(option)) {
            assert!(missed.contains(&option), "{option} is not in {said}");
        }
    });
}

#[test]
fn the_doctor_knows_which_control_groups_each_lxc_runs_under_and_brings_them() {
    under_each_lxc(|host| {
        host.sh(HYBRID).succeeds();
        let said = host.sh("rootcellar doctor --format json || [ $? = 1 ]").succeeds();
        let checks: serde_json::Value = serde_json::from_str(&said).unwrap();
        let check = checks.as_array().unwrap().iter().find(|check| check["name"] == "control groups v1").unwrap();
        let is_version_1_known = !host.sh("lxc-create --version").succeeds().starts_with("7.");
        assert_eq!(check["found"] == "no hierarchy systemd, freezer", is_version_1_known, "{check}");
        if !is_version_1_known {
            let name = host.name("fixed");
            create(host, "download", &name);
            host.sh(check["fix"].as_str().unwrap()).succeeds();
            runs_and_ends(host, &name);
        }
    });
}

/// `lxc-create` with a template and further options; gives what the template said.
fn create(host: &LxcHost, template: &str, name: &str) -> String {
    let server = host.server.host_and_port();
    host.sh(&format!("lxc-create -n {name} -t {template} -- {IMAGE} --server {server}")).succeeds()
}

/// Starts a container, looks into it, stops it and destroys it.
fn runs_and_ends(host: &LxcHost, name: &str) {
    starts_and_stops(host, name);
    host.sh(&format!("lxc-destroy -n {name}")).succeeds();
    assert!(!host.container_names().contains(&name.to_owned()));
}

/// Starts a container, looks into it, and stops it as an administrator would.
fn starts_and_stops(host: &LxcHost, name: &str) {
    host.sh(&format!("lxc-start -n {name}; lxc-wait -n {name} -s RUNNING -t 30")).succeeds();
    gets_an_address(host, &format!("lxc-info -n {name} -i -H"));
    assert_eq!(host.sh(&format!("lxc-attach -n {name} -- cat /etc/hostname")).succeeds().trim(), name);
    host.sh(&format!("lxc-stop -n {name} -t 30 --nokill; lxc-wait -n {name} -s STOPPED -t 1")).succeeds();
}

/// Waits until `shown` has the address that the container's init asked for, so init is up and takes signals.
fn gets_an_address(host: &LxcHost, shown: &str) {
    host.sh(&format!("timeout 30 sh -c 'until {shown} | grep -q 10[.]0[.]3[.]; do sleep 0.1; done'")).succeeds();
}

const OURS: &str = "/usr/share/lxc/templates/lxc-download";
const STOCK: &str = "/usr/share/lxc/templates/lxc-download.stock";
const IMAGE: &str = "-d busybox -r 1.35 -a amd64";
const EVERY_KIND_OF_LINE: &str = "# of this host\\nlxc.net.0.type = veth\\nlxc.net.0.link = lxcbr0\\n\\n\
                                  lxc.start.auto = 1\\n\\tlxc.start.delay = 5\\nlxc.environment = A=B C\\n";
/// Has the kernel's configuration say that it has none of them.
const WITHOUT_OPTIONS: &str = "echo CONFIG_SMP=y >/boot/config-$(uname -r)
if [ -e /proc/config.gz ]; then gzip -k /boot/config-*; mount --bind /boot/config-*.gz /proc/config.gz; fi";
/// A mount of version 2 that is not the host's own.
const HYBRID: &str = "umount /sys/fs/cgroup
mount -t tmpfs tmpfs /sys/fs/cgroup
mkdir /sys/fs/cgroup/unified
mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified";
const PLAIN_USER: &str = "useradd -m -s /bin/sh ana
chmod 755 /home/ana
ids=$(sed -n 's/^ana:\\([0-9]*\\):\\([0-9]*\\)$/\\1 \\2/p' /etc/subuid)
runuser -l ana -c 'mkdir -p .config/lxc'
printf '%s\\n' lxc.idmap=\"u 0 $ids\" lxc.idmap=\"g 0 $ids\" lxc.net.0.type=empty lxc.apparmor.profile=unconfined \
    >/home/ana/.config/lxc/default.conf";
