//! A server that knows nothing but the classic layout, as the public one documents it, works at a trust level that is
//! chosen by its full name and said aloud: its TLS certificate vouches for it, and nothing else.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::stock_template::lxc_create_from;
use crate::support::{Program, TestHost, TestServer, fake_build, need, program};

const IMAGE: &str = "debian/bookworm/amd64/default";
const BUILD: &str = "20261120_07:42";
const WARNING: &str = "nothing but its TLS certificate vouches for";

/// An nginx with the files of a stock server: indexes for LXC 1.0 to 3.0 and one without a level, images with a colon in
/// the name of their build, and neither signed streams nor keys. It ends with this value.
pub(crate) struct ClassicServer {
    process: Child,
    directory: TempDir,
    pub(crate) address: String,
    /// Another address, whose every answer sends to the first: what the public server does with its mirrors (lxc #4306).
    pub(crate) redirecting: String,
    /// For its certificate.
    pub(crate) of: TestServer,
}

impl ClassicServer {
    pub(crate) fn start() -> Self {
        let (_build, build) = fake_build(IMAGE, "20261120_0742");
        let of = TestServer::publishing(&[&build]);
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        fs::set_permissions(top, fs::Permissions::from_mode(0o755)).unwrap();
        let images = top.join("site/images").join(IMAGE).join(BUILD);
        fs::create_dir_all(&images).unwrap();
        fs::create_dir_all(top.join("site/meta/1.0")).unwrap();
        for name in ["rootfs.tar.xz", "meta.tar.xz", "SHA256SUMS"] {
            fs::copy(build.join(name), images.join(name)).unwrap();
        }
        for mode in ["system", "user"] {
            for level in ["", ".1", ".2", ".3", ".4"] {
                fs::write(top.join(format!("site/meta/1.0/index-{mode}{level}")), index(mode)).unwrap();
            }
        }
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [address, redirecting] = listeners.map(|listener| listener.local_addr().unwrap().to_string());
        let (tls, top) = (of.ca().parent().unwrap().display().to_string(), top.display());
        let config = format!(
            "daemon off; worker_processes 1; pid {top}/pid; error_log {top}/error.log;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log {top}/access.log; client_body_temp_path {top}/body; proxy_temp_path {top}/proxy;\n\
             fastcgi_temp_path {top}/fastcgi; uwsgi_temp_path {top}/uwsgi; scgi_temp_path {top}/scgi;\n\
             ssl_certificate {tls}/server.pem; ssl_certificate_key {tls}/server.key.pem;\n\
             server {{ listen {address} ssl; root {top}/site; }}\n\
             server {{ listen {redirecting} ssl; return 302 https://{address}$request_uri; }} }}\n"
        );
        fs::write(directory.path().join("nginx.conf"), config).unwrap();
        let command = Program::new("nginx").arg("-c").arg(directory.path().join("nginx.conf"));
        let mut command = command.arg("-e").arg(directory.path().join("error.log")).into_command();
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let this = Self { process, directory, address, redirecting, of };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&this.address).is_err() {
            let said = fs::read_to_string(this.directory.path().join("error.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "nginx does not answer:\n{said}");
            std::thread::sleep(Duration::from_millis(50));
        }
        this
    }

    /// The paths it was asked for.
    pub(crate) fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(self.directory.path().join("access.log")).unwrap();
        log.lines().filter_map(|line| Some(line.split(' ').nth(6)?.to_owned())).collect()
    }

    /// How a command names it.
    fn source(&self) -> String {
        format!("--server https://{} --ca {}", self.address, self.of.ca().display())
    }
}

/// What is offered in a mode. Some lines are for one of them alone, and one is cut short.
fn index(mode: &str) -> String {
    let line = |image: &str| format!("{};{BUILD};/images/{image}/{BUILD}/\n", image.replace('/', ";"));
    let cut = "debian;sid;amd64;default;20261120_07:42;\n".to_owned();
    [line(&format!("alpine/3.20/amd64/{mode}")), line("debian/bookworm/amd64/cloud"), line(IMAGE), cut].concat()
}

impl Drop for ClassicServer {
    fn drop(&mut self) {
        // Its master ends its workers when it is asked to.
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.process.wait();
    }
}

#[test]
fn it_is_refused_until_its_tls_certificate_is_trusted_in_so_many_words() {
    need!("nginx");
    let server = ClassicServer::start();
    let host = TestHost::new();
    let source = server.source();
    let refused = host.run(&format!("fetch debian/bookworm {source}"));
    refused.fails_with(1, "no key is pinned");
    refused.fails_with(1, "--trust-tls");
    // Whoever has a fingerprint is not given less than signatures.
    host.run(&format!("fetch debian/bookworm {source} --fingerprint {}", "A".repeat(40))).fails_with(1, "index.sjson");
    host.run(&format!("fetch debian/bookworm {source} --trust-tls --fingerprint {}", "A".repeat(40)))
        .fails_with(1, "cannot be used with");
    assert!(!server.requests().iter().any(|path| path.ends_with(".tar.xz")), "{:?}", server.requests());
}

#[test]
fn its_images_are_listed_shown_fetched_and_kept_and_the_trust_is_said_each_time() {
    need!("nginx");
    let server = ClassicServer::start();
    let host = TestHost::new();
    let source = format!("{} --trust-tls", server.source());
    for (line, words) in [("list", IMAGE), ("info debian/bookworm", BUILD), ("fetch debian/bookworm", BUILD)] {
        let said = host.run(&format!("{line} {source}"));
        assert!(said.succeeds().contains(words), "{line}: {said:?}");
        assert!(said.stderr().contains(WARNING), "{line}: {said:?}");
    }
    host.run(&format!("fetch debian/bookworm --offline {source}")).succeeds();
    host.run(&format!("fetch debian/bookworm@{BUILD} --offline {source}")).succeeds();
    // It knows no short names, but what begins with this one.
    let said = host.run(&format!("fetch debian {source}"));
    said.fails_with(1, "did you mean `debian/bookworm`");
    let requests = server.requests();
    let count = |end: &str| requests.iter().filter(|path| path.ends_with(end)).count();
    // No level but the newest is tried before the index that has none.
    assert_eq!((count("index-system.7") + count("index-user.7"), count(".4"), count("rootfs.tar.xz")), (4, 0, 1));
    // What TLS vouched for is nothing to somebody who has a key.
    let pinned = format!("{} --fingerprint {}", server.source(), "A".repeat(40));
    host.run(&format!("fetch debian/bookworm --offline {pinned}")).fails_with(1, "no undamaged build");
}

#[test]
fn plain_http_vouches_for_nothing() {
    let host = TestHost::new();
    let said = host.run("list --server http://127.0.0.1:9 --trust-tls");
    said.fails_with(1, "http://127.0.0.1:9");
    assert!(!said.stderr().contains("connect"), "{said:?}");
}

#[test]
fn lxc_creates_from_it_with_our_template_when_the_configuration_says_so() {
    need!(root, "nginx", "lxc-create", "unshare");
    let server = ClassicServer::start();
    let host = TestHost::new();
    let script = "mount --bind \"$0\" /usr/share/lxc/templates/lxc-download && exec \"$@\"";
    let create = |name: &str| {
        let ours = Program::new("unshare").args(["-m", "sh", "-c", script]).arg(program::ours("rootcellar"));
        let ours = ours.env("ROOTCELLAR_CA", server.of.ca()).arg("lxc-create");
        lxc_create_from(ours, &host, &server.of, &server.address, name, "bookworm")
    };
    create("refused").run().fails_with(1, "no key is pinned");
    fs::create_dir_all(host.path("config")).unwrap();
    fs::write(host.path("config/client.toml"), "[template]\ntrust = \"tls\"\n").unwrap();
    let said = create("classic").run();
    assert!(said.succeeds().contains("Downloading the image index"), "{said:?}");
    assert!(said.stderr().contains("nothing but its TLS certificate vouches"), "{said:?}");
    let hostname = fs::read_to_string(host.containers().join("classic/rootfs/etc/hostname")).unwrap();
    assert_eq!(hostname, "classic\n");
}
