//! While one publish follows another, every client sees one generation: indexes fit their signatures, and whatever is
//! listed is there.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use formats::digest::FileDigest;
use formats::index::Index;
use formats::streams::{Products, StreamsIndex};
use testkit::FakeImage;

use crate::support::{Connection, Server, World, need, run};

const IMAGE: &str = "debian/trixie/amd64/default";
const PUBLISHES: usize = 100;
const READS: usize = 10_000;

fn image(number: usize) -> FakeImage {
    FakeImage::new(IMAGE).serial(&serial(number))
}

fn serial(number: usize) -> String {
    format!("20261123_{:02}{:02}", number / 60, number % 60)
}

#[test]
fn ten_thousand_readers_of_a_hundred_publishes_see_whole_generations_and_files_that_are_there() {
    need!("gpgv");
    let world = World::publishing(&[image(0)]);
    let keyring = world.path("keyring.pgp");
    fs::copy(world.current().join(format!("keys/{}.pgp", world.fingerprint("compat"))), &keyring).unwrap();
    let builds: Vec<_> = (1..=PUBLISHES).map(|number| world.build(&image(number))).collect();
    run(world.command().args(["import", "--channel", "staging"]).args(&builds)).succeeds();
    let server = world.serve();
    let (is_over, reads, pairs) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(HashSet::new()));
    thread::scope(|scope| {
        for reader in 0..4 {
            let (server, is_over, reads, pairs) = (&server, &is_over, &reads, &pairs);
            scope.spawn(move || {
                let mut reader = Reader::new(server, reader);
                while !is_over.load(Ordering::Relaxed) {
                    let pair = reader.read();
                    pairs.lock().unwrap().insert(pair);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _over = Over(&is_over);
        for number in 1..=PUBLISHES {
            let build = format!("{IMAGE}@{}", serial(number));
            world.run(&["promote", &build, "--to", "stable"]).succeeds();
            // So many reads for each publish: none is left for the time after the last.
            wait_until(|| reads.load(Ordering::Relaxed) >= READS / PUBLISHES * number);
        }
        let newest = serial(PUBLISHES);
        wait_until(|| server.get("/meta/1.0/index-user").text().contains(&newest));
    });
    let pairs = pairs.into_inner().unwrap();
    let generations: HashSet<_> = pairs.iter().map(|(index, _)| index).collect();
    assert!(generations.len() > 2, "readers saw {} indexes", generations.len());
    let (index, signature) = (world.path("index"), world.path("index.asc"));
    for (index_bytes, signature_bytes) in &pairs {
        fs::write(&index, index_bytes).unwrap();
        fs::write(&signature, signature_bytes).unwrap();
        run(Command::new("gpgv").arg("--keyring").arg(&keyring).arg(&signature).arg(&index)).succeeds();
    }
}

fn wait_until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(Instant::now() < deadline, "the readers are too slow");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Ends the readers also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One client that reads index after index, and what each lists.
struct Reader {
    connection: Connection,
    /// Grows with each read, and chooses the index.
    turn: usize,
    /// Files that were there, with their sizes.
    seen: HashMap<String, u64>,
    products: HashSet<String>,
}

impl Reader {
    fn new(server: &Server, turn: usize) -> Self {
        Self { connection: Connection::open(server.address()), turn, seen: HashMap::new(), products: HashSet::new() }
    }

    /// Reads an index and its signature as a client of the GPG era does, then looks at what is listed.
    fn read(&mut self) -> (Vec<u8>, Vec<u8>) {
        self.turn += 1;
        let mode = ["system", "user"][self.turn % 2];
        let suffix = ["", ".1", ".2", ".3", ".4", ".5", ".6", ".7"][self.turn / 2 % 8];
        let path = format!("//meta/1.0/index-{mode}{suffix}");
        let index = self.connection.get(&path);
        let signature = self.connection.get(&format!("{path}.asc"));
        assert_eq!((index.status, signature.status), (200, 200), "{path}");
        self.look_at_listed_files(&index.text());
        if self.turn.is_multiple_of(10) {
            self.look_at_streams();
        }
        (index.body, signature.body)
    }

    fn look_at_listed_files(&mut self, index: &str) {
        let (index, skipped) = Index::parse(index);
        assert_eq!(skipped, 0);
        for entry in index.entries {
            for file in ["rootfs.tar.xz", "meta.tar.xz", "rootfs.tar.xz.asc", "meta.tar.xz.asc"] {
                self.size_of(&format!("{}{file}", entry.path.as_str()));
            }
        }
    }

    fn look_at_streams(&mut self) {
        let index: StreamsIndex = serde_json::from_slice(&self.connection.get("/streams/v1/index.json").body).unwrap();
        for entry in index.index.values().filter(|entry| !self.products.contains(&entry.path)).collect::<Vec<_>>() {
            let products = self.connection.get(&format!("/{}", entry.path));
            assert_eq!(FileDigest::of(&products.body), entry.digest, "{}", entry.path);
            let products: Products = serde_json::from_slice(&products.body).unwrap();
            let versions = products.products.values().flat_map(|product| product.versions.values());
            for item in versions.flat_map(|version| version.items.values()) {
                assert_eq!(self.size_of(&format!("/{}", item.path)), item.digest.size_bytes, "{}", item.path);
            }
            self.products.insert(entry.path.clone());
        }
    }

    /// The size of a file that is there. Files are immutable, so each is asked for once.
    fn size_of(&mut self, path: &str) -> u64 {
        if let Some(size) = self.seen.get(path) {
            return *size;
        }
        let answer = self.connection.ask("HEAD", path);
        assert_eq!(answer.status, 200, "{path}");
        let size = answer.header("content-length").unwrap().parse().unwrap();
        self.seen.insert(path.to_owned(), size);
        size
    }
}
