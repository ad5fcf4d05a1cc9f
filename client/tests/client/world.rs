//! A host with its own directories, and a server on loopback whose files a test can change.

mod connection;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use formats::certificate::SigningKey;
use formats::delta::DeltaKind;
use formats::digest::FileDigest;
use formats::layout;
use formats::record::{BuildFile, BuildRecord};
use formats::signature::{RepositoryKey, SignInline as _};
use formats::streams::{Item, Product, Products, ProductsEntry, StreamsIndex, Version, ftype};
use formats::time::{Span, Timestamp};
use testkit::FakeImage;

pub(crate) use connection::Fault;
pub(crate) use connection::{Shared, answer};

/// A server: a map of paths to contents, and what was asked for.
pub(crate) struct Server {
    pub(crate) key: RepositoryKey,
    pub(crate) files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    pub(crate) shared: Shared,
    address: String,
    pub(crate) builds: Vec<FakeImage>,
    deltas: Vec<Delta>,
    /// What is said of the archive in every rootfs, where it is a lie.
    pub(crate) said_of_tars: Option<FileDigest>,
}

/// A delta on the server, between two serials.
struct Delta {
    base: String,
    build: String,
    content: Vec<u8>,
}

/// What an index claims.
#[derive(Clone, Copy)]
pub(crate) struct Claims {
    pub(crate) serial: u64,
    pub(crate) published: Timestamp,
    pub(crate) expires: Timestamp,
}

impl Claims {
    /// A fresh index, with the serial and the time of publication of now plus some seconds.
    pub(crate) fn fresh(later: i64) -> Self {
        let published = Timestamp::from_unix(now().unix() - 1000 + later);
        let serial = u64::try_from(published.unix()).unwrap();
        Self { serial, published, expires: published + Span::from_days(2) }
    }
}

pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

pub(crate) fn stranger() -> RepositoryKey {
    key_of(9, 90)
}

/// A key made so many days ago, whose signing subkey is valid for so many days.
pub(crate) fn key_of(days_ago: u32, validity: u32) -> RepositoryKey {
    let made = now() - Span::from_days(days_ago);
    RepositoryKey(SigningKey::generate_repository("t", made, Span::from_days(validity)).unwrap())
}

impl Server {
    /// A server that has published these builds.
    pub(crate) fn publishing(builds: &[FakeImage]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Shared::default();
        let server = Self {
            key: stranger(),
            files: shared.files.clone(),
            shared: shared.clone(),
            address,
            builds: builds.to_vec(),
            deltas: Vec::new(),
            said_of_tars: None,
        };
        server.publish(Claims::fresh(0));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = shared.clone();
                std::thread::spawn(move || answer(stream.unwrap(), &shared));
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn fingerprint(&self) -> String {
        self.key.certificate().fingerprint().to_string()
    }

    /// Another build appears, in a new generation.
    pub(crate) fn add(&mut self, build: FakeImage, claims: Claims) {
        self.builds.push(build);
        self.publish(claims);
    }

    /// The next generation offers this as what makes one build out of another.
    pub(crate) fn offer_delta(&mut self, base: &FakeImage, build: &FakeImage, content: Vec<u8>) {
        let serial = |image: &FakeImage| image.record().serial.to_string();
        self.deltas.push(Delta { base: serial(base), build: serial(build), content });
    }

    /// A new generation.
    pub(crate) fn publish(&self, claims: Claims) {
        self.publish_signed_by(&self.key, claims);
    }

    pub(crate) fn publish_signed_by(&self, key: &RepositoryKey, claims: Claims) {
        let mut files = self.files.lock().unwrap();
        let certificate = self.key.certificate();
        let armored = certificate.to_armored().unwrap();
        files.insert(layout::certificate(certificate.fingerprint().as_str()), armored.clone());
        let mut products: BTreeMap<String, Product> = BTreeMap::new();
        for build in &self.builds {
            let record = build.record();
            let mut items = BTreeMap::new();
            for (file, content) in build.files() {
                let path = layout::build_file(&record.image, &record.serial, file.name());
                let digest = FileDigest::of(&content);
                files.insert(path.clone(), content);
                let ftype = ftype(file).to_owned();
                let tar = (file == BuildFile::RootfsTarXz).then(|| self.said_of_tars.unwrap_or(record.rootfs_tar));
                let (delta_base, combined_squashfs_sha256, combined_rootxz_sha256) = (None, None, None);
                items.insert(
                    file.name().to_owned(),
                    Item { ftype, path, digest, tar, delta_base, combined_squashfs_sha256, combined_rootxz_sha256 },
                );
            }
            items.extend(self.delta_items(&record, &mut files));
            let product = products.entry(record.image.product_name()).or_insert_with(|| Product {
                aliases: record.aliases.join(","),
                arch: record.image.arch.to_string(),
                os: record.os.clone(),
                release: record.image.release.to_string(),
                release_title: record.image.release.to_string(),
                variant: record.image.variant.to_string(),
                support_eol: None,
                requirements: BTreeMap::new(),
                versions: BTreeMap::new(),
            });
            let version = Version { cache_expiry: Some(record.cache_expiry), items };
            product.versions.insert(record.serial.to_string(), version);
        }
        let names = products.keys().cloned().collect();
        let document = Products {
            content_id: "images".to_owned(),
            datatype: Products::DATATYPE.to_owned(),
            format: Products::FORMAT.to_owned(),
            updated: None,
            products,
        };
        let json = serde_json::to_vec(&document).unwrap();
        let digest = FileDigest::of(&json);
        let path = layout::products(&"all".parse().unwrap(), &digest.sha256);
        files.insert(path.clone(), json);
        let entry = ProductsEntry {
            datatype: Products::DATATYPE.to_owned(),
            format: Products::FORMAT.to_owned(),
            path,
            updated: String::new(),
            products: names,
            digest,
        };
        let index = StreamsIndex {
            format: StreamsIndex::FORMAT.to_owned(),
            updated: String::new(),
            serial: claims.serial,
            channel: "stable".parse().unwrap(),
            published: claims.published,
            expires: claims.expires,
            index: BTreeMap::from([("all".to_owned(), entry)]),
        };
        let json = serde_json::to_vec_pretty(&index).unwrap();
        let signed = key.sign_inline(&json, claims.published, claims.expires).unwrap();
        files.insert(layout::SIGNED_INDEX.to_owned(), signed);
    }

    /// The index that is published, signed again, by a signature that says it was made at another time.
    pub(crate) fn sign_as_of(&self, made: Timestamp, expires: Timestamp) {
        let signed = String::from_utf8(self.get(layout::SIGNED_INDEX)).unwrap();
        let (_, rest) = signed.split_once("\n\n").unwrap();
        let (json, _) = rest.split_once("\n-----BEGIN PGP SIGNATURE").unwrap();
        self.put(layout::SIGNED_INDEX, self.key.sign_inline(json.as_bytes(), made, expires).unwrap());
    }

    /// The deltas that make a build, as items of its version.
    fn delta_items(&self, record: &BuildRecord, files: &mut BTreeMap<String, Vec<u8>>) -> Vec<(String, Item)> {
        let of_build = self.deltas.iter().filter(|delta| delta.build == record.serial.to_string());
        let item = |delta: &Delta| {
            let name = DeltaKind::Tar.file_name(&delta.base.parse().unwrap());
            let path = layout::build_file(&record.image, &record.serial, &name);
            files.insert(path.clone(), delta.content.clone());
            let item = Item {
                ftype: DeltaKind::Tar.ftype().to_owned(),
                path,
                digest: FileDigest::of(&delta.content),
                tar: None,
                delta_base: Some(delta.base.clone()),
                combined_squashfs_sha256: None,
                combined_rootxz_sha256: None,
            };
            (name, item)
        };
        of_build.map(item).collect()
    }

    /// Serves the certificate as a key server does.
    pub(crate) fn answer_key_lookups(&self) {
        let signed = self.get(layout::SIGNED_INDEX);
        let armored = self.key.certificate().to_armored().unwrap();
        for id in formats::verified::claimed_issuers(&signed).unwrap() {
            self.put(&format!("pks/lookup?op=get&options=mr&search=0x{id}"), armored.clone());
        }
    }

    /// Has the certificate under its subkeys, as what is exported for a static site has it.
    pub(crate) fn name_certificate_by_subkeys(&self) {
        let certificate = self.key.certificate();
        for subkey in certificate.subkeys() {
            self.put(&layout::certificate(subkey.as_str()), certificate.to_armored().unwrap());
        }
    }

    pub(crate) fn get(&self, path: &str) -> Vec<u8> {
        self.files.lock().unwrap()[path].clone()
    }

    pub(crate) fn put(&self, path: &str, content: Vec<u8>) {
        self.files.lock().unwrap().insert(path.to_owned(), content);
    }

    /// The paths below which files end like this.
    pub(crate) fn paths(&self, end: &str) -> Vec<String> {
        self.files.lock().unwrap().keys().filter(|path| path.ends_with(end)).cloned().collect()
    }

    /// How often files of this name were asked for.
    pub(crate) fn requests(&self, end: &str) -> usize {
        self.shared.requests.lock().unwrap().iter().filter(|request| request.path.ends_with(end)).count()
    }

    /// From which bytes on files of this name were asked for.
    pub(crate) fn ranges(&self, end: &str) -> Vec<usize> {
        let requests = self.shared.requests.lock().unwrap();
        requests.iter().filter(|request| request.path.ends_with(end)).filter_map(|request| request.from).collect()
    }

    /// From now on the server does this wrong, or nothing.
    pub(crate) fn fails(&self, fault: Option<Fault>) {
        *self.shared.fault.lock().unwrap() = fault;
    }
}

/// Where a server is reached whose answers come in pieces, each after this pause.
pub(crate) fn slowly(server: &Server, pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let behind = server.address.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(&behind).unwrap());
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            std::thread::spawn(move || {
                let mut piece = vec![0; 64 << 10];
                while let Ok(count) = server.read(&mut piece)
                    && count > 0
                    && client.write_all(&piece[..count]).is_ok()
                {
                    std::thread::sleep(pause);
                }
            });
        }
    });
    address
}

/// A host: directories of its own, in which the program runs.
pub(crate) struct Host {
    directory: tempfile::TempDir,
}

/// What a program said and how it ended.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Host {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("lxc")).unwrap();
        Self { directory }
    }

    /// A host on which this server is the remote `default`.
    pub(crate) fn trusting(server: &Server) -> Self {
        let host = Self::new();
        host.trust(server);
        host
    }

    /// Makes this server the remote `default`.
    pub(crate) fn trust(&self, server: &Server) {
        self.configure(&format!(
            "[remotes.default]\nurl = \"{}\"\nfingerprint = \"{}\"\n",
            server.url(),
            server.fingerprint()
        ));
    }

    pub(crate) fn configure(&self, text: &str) {
        fs::create_dir_all(self.at("config")).unwrap();
        fs::write(self.at("config/client.toml"), text).unwrap();
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env("ROOTCELLAR_CONFIG_DIR", self.at("config"))
            .env("ROOTCELLAR_STATE_DIR", self.at("state"))
            .env("ROOTCELLAR_CACHE_DIR", self.at("cache"))
            .env("ROOTCELLAR_CONTAINERS", self.at("containers"))
            .env("HOME", self.at("home"))
            .stdin(std::process::Stdio::null());
        command
    }

    pub(crate) fn rootcellar(&self, line: &str) -> Command {
        let mut command = self.command(PROGRAM);
        command.args(line.split_whitespace());
        command
    }

    pub(crate) fn run(&self, line: &str) -> Said {
        Said::of(&self.rootcellar(line).output().unwrap())
    }

    /// The program under the template's name.
    pub(crate) fn template(&self) -> Command {
        let link = self.at("lxc-download");
        if !link.exists() {
            std::os::unix::fs::symlink(PROGRAM, &link).unwrap();
        }
        self.command(link)
    }

    /// Every file and directory below a directory of this host.
    pub(crate) fn tree(&self, below: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut waiting = vec![self.at(below)];
        while let Some(path) = waiting.pop() {
            let Ok(entries) = fs::read_dir(&path) else { continue };
            for entry in entries {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    waiting.push(entry.path());
                }
                found.push(entry.path());
            }
        }
        found.sort();
        found
    }

    /// Where the cache keeps a file of an image.
    pub(crate) fn cached(&self, image: &FakeImage, file: BuildFile) -> PathBuf {
        let name = image.record().files[&file].sha256.to_string();
        self.at("cache/v1/blobs/sha256").join(&name[..2]).join(name)
    }
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Ends with status 1 and a message with these words.
    #[track_caller]
    pub(crate) fn refuses(self, words: &str) -> Self {
        assert_eq!(self.code, 1, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        assert!(self.stderr.contains(words), "expected `{words}` in: {}", self.stderr);
        self
    }
}

pub(crate) fn bookworm() -> FakeImage {
    FakeImage::new("debian/bookworm/amd64/default").serial(&serial(0)).alias("debian/12").alias("debian")
}

/// The serial of a build of some minutes ago: its cached copy is fresh. It is the same each time, however long the tests
/// take.
pub(crate) fn serial(minutes_ago: u64) -> String {
    static BEGUN: LazyLock<Timestamp> = LazyLock::new(now);
    formats::serial::Serial::at(*BEGUN - Span::from_seconds(60 * minutes_ago)).to_string()
}

pub(crate) fn path_of(image: &FakeImage, file: BuildFile) -> String {
    let record = image.record();
    layout::build_file(&record.image, &record.serial, file.name())
}

/// Waits for something that a process is about to do.
#[track_caller]
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "never: {what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Whether the test can make files for other users. Says so when it cannot.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        testkit::skip("making containers needs root");
    }
    root
}

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_rootcellar");
