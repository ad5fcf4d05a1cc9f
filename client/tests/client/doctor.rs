//! `doctor` says what this host lacks, and ends accordingly.

use crate::world::{Host, Server, bookworm};

#[test]
fn every_finding_is_in_the_table_and_in_json_and_decides_the_status() {
    let host = Host::new();
    let said = host.run("doctor --format json");
    let checks: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let checks = checks.as_array().unwrap();
    let is_missing = checks.iter().any(|check| check["verdict"] == "missing");
    assert_eq!(said.code, i32::from(is_missing), "{}", said.stdout);
    for name in [
        "Linux",
        "kernel options",
        "namespaces",
        "user namespaces",
        "control groups",
        "subordinate ids",
        "newuidmap",
        "overlay",
        "room",
    ] {
        assert!(checks.iter().any(|check| check["name"] == name), "{name}: {}", said.stdout);
    }
    let text = host.run("doctor").stdout;
    for check in checks {
        let fix = check["fix"].as_str();
        assert_eq!(fix.is_some(), check["verdict"] != "ok", "{check}");
        assert!(
            text.contains(check["name"].as_str().unwrap()) && text.contains(fix.unwrap_or_default()),
            "{check}\n{text}"
        );
    }
}

#[test]
fn a_host_without_a_server_is_told_how_to_get_one() {
    let host = Host::new();
    assert!(host.run("doctor").stdout.contains("rootcellar remote add default"));
    host.trust(&Server::publishing(&[bookworm()]));
    assert!(!host.run("doctor").stdout.contains("rootcellar remote add default"));
}
