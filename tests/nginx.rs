//! What `rootcellar-server export` writes is served by a real nginx, with the configuration we ship, to every client.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::stock_template::lxc_create_from;
use crate::support::program::source;
use crate::support::{Program, TestHost, TestServer, fake_build, need, program};
use crate::unprivileged::container_user;

const IMAGE: &str = "debian/bookworm/amd64/default";

/// A running nginx that serves an export of a server's data. It ends with this value.
struct Nginx {
    process: Child,
    directory: TempDir,
    address: String,
}

impl Nginx {
    /// With the configuration that we ship.
    fn serving(server: &TestServer) -> Self {
        Self::serving_with(server, |site| site)
    }

    /// The same with a changed configuration.
    fn serving_with(server: &TestServer, change: impl FnOnce(String) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        // nginx drops root, and has to reach the site.
        fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let shipped = fs::read_to_string(source().join("deploy/nginx/rootcellar.conf")).unwrap();
        let tls = server.ca().parent().unwrap().to_str().unwrap().to_owned();
        let root = directory.path().join("site");
        let site = shipped
            .replace("[::]:443 ssl ipv6only=off", &format!("{address} ssl"))
            .replace("/srv/rootcellar;", &format!("{};", root.display()))
            .replace("/etc/rootcellar/server", &format!("{tls}/server"));
        assert_eq!(site.matches("CHANGE").count(), shipped.matches("CHANGE").count());
        fs::write(directory.path().join("site.conf"), change(site)).unwrap();
        let top = directory.path().display();
        let config = format!(
            "daemon off; worker_processes 1; pid {top}/pid; error_log {top}/error.log;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; client_body_temp_path {top}/body; proxy_temp_path {top}/proxy;\n\
             fastcgi_temp_path {top}/fastcgi; uwsgi_temp_path {top}/uwsgi; scgi_temp_path {top}/scgi;\n\
             include {top}/site.conf; }}\n"
        );
        fs::write(directory.path().join("nginx.conf"), config).unwrap();
        server.command(&["export", "--copy", root.to_str().unwrap()]).succeeds();
        let command = Program::new("nginx").arg("-c").arg(directory.path().join("nginx.conf"));
        let mut command = command.arg("-e").arg(directory.path().join("error.log")).into_command();
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let this = Self { process, directory, address };
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(&this.address).is_err() {
            let said = fs::read_to_string(this.directory.path().join("error.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "nginx does not answer:\n{said}");
            std::thread::sleep(Duration::from_millis(50));
        }
        this
    }

    fn site(&self) -> std::path::PathBuf {
        self.directory.path().join("site")
    }

    /// The head of an answer, by curl.
    fn head(&self, ca: &Path, path: &str, args: &[&str]) -> String {
        let url = format!("https://{}/{path}", self.address);
        let curl = Program::new("curl").args(["-sS", "-D", "-", "-o", "/dev/null", "--noproxy", "*", "--cacert"]);
        curl.arg(ca).args(args).arg(url).run().succeeds().to_lowercase()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its master ends its workers when it is asked to.
        let pid = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.process.wait();
    }
}

fn server() -> TestServer {
    let (_stable, stable) = fake_build(IMAGE, "20261122_0522");
    let server = TestServer::publishing(&[&stable]);
    let (_staging, staging) = fake_build(IMAGE, "20261123_0522");
    server.command(&["import", "--channel", "staging", staging.to_str().unwrap()]).succeeds();
    server.command(&["publish"]).succeeds();
    server
}

#[test]
fn our_client_verifies_an_export_and_gets_each_channels_build_and_a_freshly_exported_one() {
    need!("nginx");
    let server = server();
    let nginx = Nginx::serving(&server);
    let url = format!("https://{}", nginx.address);
    for (channel, serial) in [("stable", "20261122_0522"), ("staging", "20261123_0522")] {
        let host = TestHost::new();
        let args = ["remote", "add", "default", &url, "--fingerprint", &server.fingerprint(), "--channel", channel];
        host.rootcellar().args(args).arg("--ca").arg(server.ca()).run().succeeds();
        let said = host.run(&format!("fetch {IMAGE}"));
        said.succeeds();
        assert!(host.run("list --format json").succeeds().contains(serial), "{channel}");
        if channel == "stable" {
            server.command(&["promote", IMAGE, "--to", "stable"]).succeeds();
            server.command(&["export", "--copy", nginx.site().to_str().unwrap()]).succeeds();
            host.run(&format!("fetch {IMAGE}@20261123_0522")).succeeds();
        }
    }
    // One byte of a file, and it is refused by its digest.
    let path = nginx.site().join(format!("images/{IMAGE}/20261123_0522/rootfs.tar.xz"));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
    let host = TestHost::new();
    let args = ["remote", "add", "default", &url, "--fingerprint", &server.fingerprint()];
    host.rootcellar().args(args).arg("--ca").arg(server.ca()).run().succeeds();
    assert!(!host.run(&format!("fetch {IMAGE}")).is_success());
}

#[test]
fn an_export_introduces_itself_to_our_client_although_nobody_answers_questions() {
    need!("nginx");
    let server = server();
    let nginx = Nginx::serving(&server);
    let url = format!("https://{}", nginx.address);
    let said = TestHost::new().rootcellar().args(["remote", "add", "default", &url]).arg("--ca").arg(server.ca()).run();
    said.fails_with(1, "there is no terminal to ask on");
    said.fails_with(1, &format!("--fingerprint {}", server.fingerprint()));
}

#[test]
fn the_stock_template_makes_a_container_from_an_export_and_from_a_channel_of_it() {
    need!(root, "nginx", "lxc-create");
    let server = server();
    let nginx = Nginx::serving(&server);
    let host = TestHost::new();
    for (name, address) in [("exported", nginx.address.clone()), ("staged", format!("{}/c/staging", nginx.address))] {
        lxc_create_from(Program::new("lxc-create"), &host, &server, &address, name, "bookworm").run().succeeds();
    }
}

#[test]
fn a_server_that_sends_its_clients_to_a_mirror_for_files_loses_no_signature_and_no_client() {
    need!(root, "nginx", "lxc-create", "wget", "gpgv");
    let server = server();
    let mirror = format!("location /images/ {{ return 302 {}$request_uri; }}\n    location / {{", server.url);
    let nginx =
        Nginx::serving_with(&server, |site| site.replacen("location / {", &mirror, 1).replace("(images/|", "("));
    let path = format!("images/{IMAGE}/20261122_0522");
    let head = nginx.head(&server.ca(), &format!("{path}/rootfs.tar.xz"), &[]);
    assert!(head.contains(" 302") && head.contains(&format!("location: {}/", server.url)), "{head}");
    let host = TestHost::new();
    lxc_create_from(Program::new("lxc-create"), &host, &server, &nginx.address, "mirrored", "bookworm")
        .run()
        .succeeds();
    assert!(
        server.log().contains(&format!("GET //images/{IMAGE}"))
            || server.log().contains(&format!("GET /images/{IMAGE}"))
    );
    let keyring = server.documents().join(format!("keys/{}.pgp", server.compat_fingerprint()));
    for name in ["rootfs.tar.xz", "meta.tar.xz"] {
        let [file, signature] = ["", ".asc"].map(|suffix| {
            let to = host.path(&format!("fetched{suffix}"));
            let wget =
                Program::new("wget").arg("--ca-certificate").arg(server.ca()).args(["-q", "--tries=1", "-O"]).arg(&to);
            wget.arg(format!("https://{}/{path}/{name}{suffix}", nginx.address)).run().succeeds();
            to
        });
        Program::new("gpgv").arg("--keyring").arg(&keyring).arg(signature).arg(file).run().succeeds();
    }
    let client = TestHost::new();
    let args =
        ["remote", "add", "default", &format!("https://{}", nginx.address), "--fingerprint", &server.fingerprint()];
    client.rootcellar().args(args).arg("--ca").arg(server.ca()).run().succeeds();
    client.run(&format!("fetch {IMAGE}")).succeeds();
}

#[test]
fn an_export_is_answered_like_the_server_itself_does() {
    need!("nginx", "curl");
    let server = server();
    let nginx = Nginx::serving(&server);
    let head = |path: &str, args: &[&str]| nginx.head(&server.ca(), path, args);
    let rootfs = format!("images/{IMAGE}/20261122_0522/rootfs.tar.xz");
    for path in [&rootfs, &format!("/{rootfs}"), &format!("c/staging//{rootfs}"), &format!("c/stable/{rootfs}")] {
        let head = head(path, &["-H", "Accept-Encoding: gzip"]);
        assert!(head.starts_with("http/1.1 200") || head.starts_with("http/2 200"), "{path}: {head}");
        assert!(
            head.contains("immutable") && head.contains("content-length") && !head.contains("gzip"),
            "{path}: {head}"
        );
    }
    let signed = head("streams/v1/index.sjson", &["-H", "Accept-Encoding: gzip"]);
    assert!(signed.contains("no-cache") && !signed.contains("content-encoding"), "{signed}");
    assert!(head("streams/v1/images.json", &["-H", "Accept-Encoding: gzip"]).contains("content-encoding: gzip"));
    assert!(head(&rootfs, &["-r", "10-19"]).contains(" 206"));
    for path in [".rootcellar/v1/export.json", "c/staging/../../.rootcellar/v1/lock", "images/../../etc/passwd"] {
        let head = head(path, &["--path-as-is"]);
        assert!(head.contains(" 404") || head.contains(" 400"), "{path}: {head}");
    }
    assert!(head("streams/v1/index.sjson", &["-X", "DELETE"]).contains(" 403"));
}

#[test]
fn a_private_server_learns_from_netrc_who_asks_by_either_template_of_a_plain_user() {
    need!(root, "nginx", "lxc-create", "newuidmap", "runuser");
    let server = server();
    let passwords = tempfile::NamedTempFile::new().unwrap();
    fs::set_permissions(passwords.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(passwords.path(), "ann:{PLAIN}s3cret\n").unwrap();
    let file = passwords.path().display().to_string();
    let private = format!("auth_basic private; auth_basic_user_file {file}; etag on;");
    let nginx = Nginx::serving_with(&server, |site| site.replace("etag on;", &private));
    let user = container_user(&server, "private");
    let template = user.home().join("lxc-download");
    fs::copy(program::ours("rootcellar"), &template).unwrap();
    let (template, ca) = (template.display().to_string(), user.home().join("ca.pem").display().to_string());
    let remote = format!("url = \"https://{}\"\nfingerprint = \"{}\"", nginx.address, server.fingerprint());
    user.write(".config/rootcellar/client.toml", &format!("[remotes.default]\n{remote}\nca = \"{ca}\"\n"));
    let create = |template: &str| {
        let image = format!("--server {} -d debian -r bookworm -a amd64", nginx.address);
        user.sh(&format!("WGETRC=$HOME/wgetrc lxc-create -t {template} -n u1 -- {image}"))
    };
    create(&template).fails_with(1, "status 401");
    user.write(".netrc", "machine 127.0.0.1 login ann password s3cret\n");
    user.sh("chmod 600 .netrc").succeeds();
    for template in ["download", &template] {
        let said = create(template);
        said.succeeds();
        let config = fs::read_to_string(user.home().join(".local/share/lxc/u1/config")).unwrap();
        assert!(config.contains("--server") && !config.contains("s3cret"), "{config}");
        assert!(!format!("{}{}", said.stdout(), said.stderr()).contains("s3cret"), "{said:?}");
        user.sh("lxc-destroy -n u1").succeeds();
    }
}
