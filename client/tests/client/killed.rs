//! Killed at any point, the client leaves what the next run goes on with, and after that nothing is left over.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;

use formats::record::BuildFile;

use crate::deltas;
use crate::world::{Host, Server, bookworm, is_root, serial};

const FIRST: u32 = 3_300_000;

/// Runs a command that is killed at a checkpoint.
#[track_caller]
fn kill_at(host: &Host, checkpoint: &str, line: &str) {
    let status = host.rootcellar(line).env("ROOTCELLAR_CHECKPOINT", checkpoint).output().unwrap().status;
    assert_eq!(status.signal(), Some(9), "{checkpoint} was not reached: {status:?}");
}

/// A host that trusts the server, and which mapped users can reach.
fn host(server: &Server) -> Host {
    let host = Host::trusting(server);
    fs::set_permissions(host.at(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(host.at("mapped.conf"), format!("lxc.idmap = u 0 {FIRST} 65536\nlxc.idmap = g 0 {FIRST} 65536\n"))
        .unwrap();
    host
}

/// Everything in the cache is sound and needed, but for builds that newer ones replaced.
#[track_caller]
fn the_cache_is_tidy(host: &Host, checkpoint: &str) {
    host.run("cache verify").succeeds();
    assert!(host.tree("cache/v1/partial").is_empty(), "{checkpoint}: {:?}", host.tree("cache/v1/partial"));
    let unfinished = |path: &std::path::PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(".new-");
    assert!(!host.tree("cache").iter().any(unfinished), "{checkpoint}");
}

#[test]
fn a_fetch_goes_on_where_one_was_killed() {
    let server = Server::publishing(&[bookworm()]);
    for (round, checkpoint) in ["fetch:metadata", "fetch:rootfs", "fetch:stored"].into_iter().enumerate() {
        let host = host(&server);
        kill_at(&host, checkpoint, "fetch debian/12");
        host.run("fetch debian/12").succeeds();
        let asked = ["rootfs.tar.xz", "meta.tar.xz"].map(|name| server.requests(name));
        assert_eq!(asked, [round + 1; 2], "{checkpoint}: nothing is downloaded twice");
        the_cache_is_tidy(&host, checkpoint);
        let pruned = host.run("cache prune").succeeds().stderr;
        assert!(pruned.contains("Removed 0 builds, 0 files"), "{checkpoint}: {pruned}");
    }
}

#[test]
fn a_create_goes_on_where_one_was_killed_whatever_it_maps() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm()]);
    let fetching = ["fetch:metadata", "fetch:rootfs", "decode:archive", "decode:placed", "fetch:stored"];
    let making = ["create:staged", "create:configured", "create:filled"];
    for checkpoint in fetching.into_iter().chain(making) {
        for (more, owner) in [("", 0), ("--config MAPPED", FIRST)] {
            let host = host(&server);
            let more = more.replace("MAPPED", host.at("mapped.conf").to_str().unwrap());
            let line = format!("create web1 debian/12 {more}");
            kill_at(&host, checkpoint, &line);
            assert!(!host.at("containers/web1").exists(), "{checkpoint}: nothing half is visible");
            assert_eq!(host.run("ls --format json").succeeds().stdout.trim(), "[]", "{checkpoint}");
            host.run(&line).succeeds();
            let containers = fs::read_dir(host.at("containers")).unwrap().map(|entry| entry.unwrap().file_name());
            assert_eq!(containers.collect::<Vec<_>>(), ["web1"], "{checkpoint}");
            let hostname = host.at("containers/web1/rootfs/etc/hostname");
            assert_eq!(fs::read_to_string(&hostname).unwrap(), "web1\n", "{checkpoint}");
            assert_eq!(fs::metadata(&hostname).unwrap().uid(), owner, "{checkpoint}");
            the_cache_is_tidy(&host, checkpoint);
        }
    }
}

#[test]
fn a_create_killed_as_its_container_appeared_has_made_all_of_it() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm()]);
    let host = host(&server);
    kill_at(&host, "create:published", "create web1 debian/12");
    host.run("create web1 debian/12").refuses("already exists");
    assert_eq!(fs::read_to_string(host.at("containers/web1/rootfs/etc/hostname")).unwrap(), "web1\n");
    host.run("create web2 debian/12 --offline").succeeds();
    the_cache_is_tidy(&host, "create:published");
}

#[test]
fn a_shared_tree_that_was_not_finished_is_made_again() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm()]);
    let host = host(&server);
    kill_at(&host, "create:base", "create --snapshot web1 debian/12");
    host.run("create --snapshot web1 debian/12").succeeds();
    let trees = fs::read_dir(host.at("containers/.rootcellar/v1")).unwrap().map(|entry| entry.unwrap().file_name());
    let unfinished = trees.filter(|name| name.to_string_lossy().ends_with(".new"));
    assert_eq!(unfinished.collect::<Vec<_>>(), [] as [&str; 0]);
    the_cache_is_tidy(&host, "create:base");
}

#[test]
fn an_update_by_a_delta_goes_on_where_one_was_killed() {
    let content = deltas::delta(&deltas::tar(&deltas::old()), &deltas::tar(&deltas::new()));
    for checkpoint in ["delta:base", "delta:downloaded", "delta:made", "delta:placed", "fetch:stored"] {
        let (server, host) = deltas::world(content.clone(), "fetch debian/12");
        kill_at(&host, checkpoint, "fetch debian/12");
        host.run("fetch debian/12 --offline").succeeds();
        host.run("fetch debian/12").succeeds();
        assert_eq!(server.requests("rootfs.tar.xz"), 1, "{checkpoint}: no whole rootfs is downloaded");
        the_cache_is_tidy(&host, checkpoint);
    }
}

#[test]
fn a_prune_goes_on_where_one_was_killed() {
    let old = bookworm().serial(&serial(60)).file("srv/old", "x");
    for checkpoint in ["prune:forgotten", "prune:removed-one"] {
        let mut server = Server::publishing(std::slice::from_ref(&old));
        let host = host(&server);
        host.run("cache warm debian/12").succeeds();
        server.add(bookworm(), crate::world::Claims::fresh(5));
        host.run("cache warm debian/12").succeeds();
        kill_at(&host, checkpoint, "cache prune");
        host.run("fetch debian/12 --offline").succeeds();
        host.run("cache prune").succeeds();
        assert!(!host.cached(&old, BuildFile::RootfsTarXz).exists(), "{checkpoint}");
        let blobs = host.tree("cache/v1/blobs").into_iter().filter(|path| path.is_file()).count();
        assert_eq!(blobs, 3, "{checkpoint}: the rootfs, its archive and the metadata");
        the_cache_is_tidy(&host, checkpoint);
    }
}
