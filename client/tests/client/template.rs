//! Called as `lxc-download`, the program does what the stock template does, and says so in the same lines.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use testkit::FakeImage;

use crate::world::{Host, Said, Server, bookworm, is_root, serial};

/// A container directory as liblxc begins it.
pub(crate) fn begun(host: &Host, name: &str, config: &str) {
    let directory = host.at(&format!("begun/{name}"));
    fs::create_dir_all(directory.join("rootfs")).unwrap();
    fs::write(directory.join("config"), config.replace("DIRECTORY", directory.to_str().unwrap())).unwrap();
    fs::set_permissions(directory.join("config"), fs::Permissions::from_mode(0o640)).unwrap();
}

/// The arguments that liblxc passes, and then those of the user.
pub(crate) fn arguments(host: &Host, name: &str, line: &str) -> Vec<String> {
    let directory = host.at(&format!("begun/{name}")).display().to_string();
    let of_lxc = [format!("--path={directory}"), format!("--name={name}"), format!("--rootfs={directory}/rootfs")];
    of_lxc.into_iter().chain(line.split_whitespace().map(str::to_owned)).collect()
}

pub(crate) fn fill(host: &Host, name: &str, line: &str) -> Said {
    Said::of(&host.template().args(arguments(host, name, line)).output().unwrap())
}

pub(crate) const BEGUN: &str = "# Template used\n# a comment of the user\n\nlxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\n\
    lxc.apparmor.profile = generated\nlxc.rootfs.path = dir:DIRECTORY/rootfs\n";
pub(crate) const IMAGE: &str = "-d debian -r bookworm -a amd64";

#[test]
fn the_second_container_comes_from_the_cache_and_flushing_fetches_again() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    for (name, line, expected) in [
        (
            "a",
            "",
            "Downloading the image index\nDownloading the rootfs\nDownloading the metadata\nThe image cache is now ready\nUnpacking the rootfs\n",
        ),
        ("b", "", "Using image from local cache\nUnpacking the rootfs\n"),
        ("c", "--force-cache", "Using image from local cache\nUnpacking the rootfs\n"),
        ("d", "--flush-cache --force-cache", "Flushing the cache...\nDownloading the image index\n"),
    ] {
        begun(&host, name, BEGUN);
        let said = fill(&host, name, &format!("{IMAGE} {line}")).succeeds();
        assert!(said.stdout.starts_with(expected), "{}", said.stdout);
        assert!(said.stdout.ends_with("\n---\nYou just created a fake container.\n"), "{}", said.stdout);
    }
}

#[test]
fn a_legacy_configuration_stays_legacy() {
    if !is_root() {
        return;
    }
    let image =
        bookworm().member("config.3", "lxc.include = LXC_TEMPLATE_CONFIG/debian.common.conf\nlxc.arch = x86_64\n");
    let server = Server::publishing(&[image]);
    let host = Host::trusting(&server);
    begun(&host, "old", "lxc.network.type = veth\nlxc.rootfs = DIRECTORY/rootfs\nlxc.rootfs.backend = dir\n");
    fill(&host, "old", IMAGE).succeeds();
    let config = fs::read_to_string(host.at("begun/old/config")).unwrap();
    assert!(config.contains("debian.common.conf") && config.contains("lxc.utsname = old\n"), "{config}");
    assert!(config.ends_with("# Network configuration\nlxc.network.type = veth\n"), "{config}");
}

#[test]
fn a_name_that_means_something_to_sed_reaches_the_files_as_it_is() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    let name = r"a&b#\1";
    begun(&host, name, BEGUN);
    fill(&host, name, IMAGE).succeeds();
    let hostname = fs::read_to_string(host.at(&format!("begun/{name}/rootfs/etc/hostname"))).unwrap();
    assert_eq!(hostname, format!("{name}\n"));
}

#[test]
fn a_failure_leaves_the_configuration_as_it_was() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    begun(&host, "p1", BEGUN);
    let before = fs::read(host.at("begun/p1/config")).unwrap();
    let said = fill(&host, "p1", "-d debian -r sarge -a amd64").refuses("no image matches");
    assert!(said.stdout.ends_with("ERROR: Couldn't find a matching image\n"), "{}", said.stdout);
    fill(&host, "p1", &format!("{IMAGE} --server stranger.invalid")).refuses("no key is pinned for `stranger.invalid`");
    assert_eq!(fs::read(host.at("begun/p1/config")).unwrap(), before);
    assert_eq!(fs::read_dir(host.at("begun/p1/rootfs")).unwrap().count(), 0);
}

#[test]
fn listing_ends_with_0_for_people_and_with_1_for_liblxc() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    for (arguments, code) in [
        (vec!["--list"], 0),
        (vec!["--list", "--path=/x", "--name=x", "--rootfs=/x/y"], 1),
        (vec!["-h"], 0),
        (vec!["-h", "--path=/x"], 1),
        (vec!["--color"], 1),
        (vec![], 1),
    ] {
        let said = Said::of(&host.template().args(&arguments).output().unwrap());
        assert_eq!(said.code, code, "{arguments:?} {}", said.stderr);
        if arguments[..] == ["--list"] {
            assert!(said.stdout.contains("debian           bookworm    amd64  default"), "{}", said.stdout);
        }
        if arguments[..] == ["--color"] {
            assert!(said.stdout.contains("--dist") && said.stderr.contains("`--color`"), "{}", said.stderr);
        }
    }
}

#[test]
fn without_an_image_and_without_a_terminal_nothing_hangs() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    begun(&host, "p1", BEGUN);
    let said = fill(&host, "p1", "").refuses("no answer to `Distribution`");
    assert!(said.stdout.contains("DIST") && said.stdout.ends_with("Distribution: \n"), "{}", said.stdout);
}

#[test]
fn the_options_of_every_era_are_taken_in_every_form_that_getopt_takes() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    for (number, line) in [
        "-d debian -r bookworm -a amd64",
        "-ddebian -rbookworm -aamd64",
        "--dist=debian --release=bookworm --arch=amd64",
        "--dis debian --rel bookworm --ar amd64 --va default",
        "-d alpine -r 3.20 -a arm64 -d debian -r bookworm -a amd64",
        "stray -d debian another -r bookworm -a amd64 words",
        // Bindings give a flag an empty value, which getopt takes for an argument.
        "--force-cache EMPTY -d debian -r bookworm -a amd64 --flush-cache EMPTY --variant EMPTY",
        // go-lxc and templates of 1.0 to 4.0.11.
        "-d debian -r bookworm -a amd64 --keyid 0xE7FB0CAE --keyserver hkp://pool.invalid --no-validate",
        "-d debian -r bookworm -a amd64 --standard-resolver --verbose",
        // What liblxc appends is hidden from getopt by a `--` of the user.
        "-d debian -r bookworm -a amd64 -- -r sarge --mapped-uid -1 --mapped-gid -1",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("c{number}");
        begun(&host, &name, BEGUN);
        let words = arguments(&host, &name, line).into_iter();
        let words = words.map(|word| if word == "EMPTY" { String::new() } else { word });
        let said = Said::of(&host.template().args(words).output().unwrap());
        assert_eq!(said.code, 0, "{line}: {}", said.stderr);
        assert!(host.at(&format!("begun/{name}/rootfs/etc/os-release")).exists(), "{line}");
    }
    for line in ["--colour", "-x", "--dist", "--list=yes", "--f"] {
        let said = fill(&host, "refused", line);
        assert_eq!(said.code, 1, "{line}");
        assert!(said.stdout.contains("--dist") && said.stderr.starts_with("error: "), "{line}: {}", said.stderr);
    }
}

#[test]
fn a_person_at_a_terminal_is_asked_and_the_answers_make_a_container() {
    let script = Path::new("/usr/bin/script");
    if !is_root() || !script.exists() {
        testkit::skip("a terminal needs `script`");
        return;
    }
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    begun(&host, "asked", BEGUN);
    host.template();
    let line = [vec![host.at("lxc-download").display().to_string()], arguments(&host, "asked", "")].concat().join(" ");
    let mut command = host.command(script);
    command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"debian\nbookworm\namd64\n").unwrap();
    let said = Said::of(&child.wait_with_output().unwrap()).succeeds();
    assert!(said.stdout.contains("Distribution: ") && said.stdout.contains("Unpacking the rootfs"), "{}", said.stdout);
    assert!(host.at("begun/asked/rootfs/etc/os-release").exists());
}

#[test]
fn a_person_at_a_terminal_chooses_among_variants_and_a_script_answers_three_questions() {
    let script = Path::new("/usr/bin/script");
    if !is_root() || !script.exists() {
        testkit::skip("a terminal needs `script`");
        return;
    }
    let cloud = FakeImage::new("debian/bookworm/amd64/cloud").serial(&serial(0)).file("etc/cloud", "");
    let server = Server::publishing(&[bookworm(), cloud]);
    let host = Host::trusting(&server);
    host.template();
    for (name, answers, is_person) in [
        ("chosen", "debian\nbookworm\namd64\ncloud\n", true),
        ("usual", "debian\nbookworm\namd64\n\n", true),
        ("piped", "debian\nbookworm\namd64\n", false),
    ] {
        begun(&host, name, BEGUN);
        let words = [vec![host.at("lxc-download").display().to_string()], arguments(&host, name, "")].concat();
        let mut command = host.command(if is_person { script } else { Path::new(&words[0]) });
        if is_person {
            command.args(["-qec", &words.join(" "), "/dev/null"]);
        } else {
            command.args(&words[1..]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
        let said = Said::of(&child.wait_with_output().unwrap()).succeeds();
        assert_eq!(said.stdout.contains("Variant (cloud, default; else default): "), is_person, "{}", said.stdout);
        assert_eq!(said.stdout.contains("amd64  cloud "), is_person, "{}", said.stdout);
        assert_eq!(host.at(&format!("begun/{name}/rootfs/etc/cloud")).exists(), name == "chosen", "{}", said.stdout);
    }
}
