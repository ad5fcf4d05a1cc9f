//! The software bill of materials, in SPDX 2.3.

use formats::digest::Sha256;
use formats::image::ImageId;
use formats::serial::Serial;
use formats::time::Timestamp;
use serde_json::{Value, json};

use super::databases::Kind;
use super::inventory::{Inventory, Package};

/// The document for one build, as JSON that ends in a newline. Its namespace is made from the content, so that equal
/// builds have equal documents.
pub(crate) fn spdx(image: &ImageId, serial: &Serial, created: Timestamp, inventory: &Inventory) -> String {
    let installed = inventory.packages.iter();
    let entries: Vec<Value> = installed.map(|package| entry(image, inventory.kind, package)).collect();
    let digest = Sha256::of(Value::from(entries.clone()).to_string().as_bytes());
    let relations: Vec<Value> = entries
        .iter()
        .map(|entry| {
            json!({
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": entry["SPDXID"],
            })
        })
        .collect();
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("{image} {serial}"),
        "documentNamespace": format!("urn:rootcellar:sbom:{image}:{serial}:{digest}"),
        "creationInfo": {
            "created": String::from(created),
            "creators": [format!("Tool: {}-{}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))],
        },
        "packages": entries,
        "relationships": relations,
    });
    format!("{document:#}\n")
}

fn entry(image: &ImageId, kind: Kind, package: &Package) -> Value {
    let Package { name, version, arch, sha256 } = package;
    let mut entry = json!({
        "SPDXID": format!("SPDXRef-Package-{}", identifier(&format!("{name}-{version}-{arch}"))),
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": url(image, kind, package),
        }],
    });
    if let Some(sha256) = sha256 {
        entry["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": sha256}]);
    }
    entry
}

/// The package URL (purl-spec): type, namespace, name, version, architecture.
fn url(image: &ImageId, kind: Kind, package: &Package) -> String {
    // What its own syntax uses is escaped; the slash of a category stays.
    let escaped = |text: &str| text.replace('%', "%25").replace('+', "%2B").replace(':', "%3A").replace('@', "%40");
    let namespace = match kind {
        // Packages for OpenWrt are nobody's, and purl has no namespaces for what it does not know.
        Kind::Opkg | Kind::Generic => String::new(),
        // The namespace is the vendor's name as the type defines it.
        Kind::Alpm if image.distribution.as_str() == "archlinux" => "arch/".to_owned(),
        Kind::Deb | Kind::Apk | Kind::Alpm | Kind::Rpm => format!("{}/", image.distribution),
    };
    let (name, version) = (escaped(&package.name), escaped(&package.version));
    let arch = if package.arch.is_empty() { String::new() } else { format!("?arch={}", package.arch) };
    format!("pkg:{}/{namespace}{name}@{version}{arch}", kind.word())
}

/// Only letters, digits, `.` and `-` are allowed in an identifier; anything else is spelled by its number.
fn identifier(text: &str) -> String {
    text.chars().fold(String::new(), |id, character| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => id + &character.to_string(),
        other => format!("{id}-{:x}-", u32::from(other)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_an_element_with_a_package_url() {
        let package = Package {
            name: "g++".into(),
            version: "4:12.2+1".into(),
            arch: "amd64".into(),
            sha256: Some(Sha256::of(b"deb")),
        };
        let image = "debian/bookworm/amd64/default".parse().unwrap();
        let serial = "20261123_0522".parse().unwrap();
        let inventory = Inventory { packages: vec![package], ..Inventory::default() };
        let text = spdx(&image, &serial, Timestamp::from_unix(1_795_411_320), &inventory);
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["creationInfo"]["created"], "2026-11-23T05:22:00Z");
        let entry = &document["packages"][0];
        assert_eq!(entry["SPDXID"], "SPDXRef-Package-g-2b--2b--4-3a-12.2-2b-1-amd64");
        assert_eq!(entry["externalRefs"][0]["referenceLocator"], "pkg:deb/debian/g%2B%2B@4%3A12.2%2B1?arch=amd64");
        assert_eq!(document["relationships"][0]["relatedSpdxElement"], entry["SPDXID"]);
    }

    #[test]
    fn versions_that_are_installed_side_by_side_are_elements_of_their_own() {
        let package = |version: &str| Package {
            name: "kernel".into(),
            version: version.into(),
            arch: "x86_64".into(),
            sha256: None,
        };
        let packages = vec![package("1"), package("2")];
        let inventory = Inventory { packages, kind: Kind::Rpm, ..Inventory::default() };
        let (image, serial) = ("fedora/43/amd64/default".parse().unwrap(), "20261123_0522".parse().unwrap());
        let document: Value =
            serde_json::from_str(&spdx(&image, &serial, Timestamp::from_unix(0), &inventory)).unwrap();
        let ids: Vec<_> = document["packages"].as_array().unwrap().iter().map(|one| one["SPDXID"].clone()).collect();
        assert_eq!(ids, ["SPDXRef-Package-kernel-1-x86-5f-64", "SPDXRef-Package-kernel-2-x86-5f-64"]);
    }

    #[test]
    fn the_package_url_names_the_manager() {
        let package = |arch: &str| Package { name: "a/b".into(), version: "1".into(), arch: arch.into(), sha256: None };
        let arch = "archlinux/current/amd64/default".parse().unwrap();
        assert_eq!(url(&arch, Kind::Alpm, &package("any")), "pkg:alpm/arch/a/b@1?arch=any");
        let fedora = "fedora/43/amd64/default".parse().unwrap();
        assert_eq!(url(&fedora, Kind::Rpm, &package("noarch")), "pkg:rpm/fedora/a/b@1?arch=noarch");
        assert_eq!(url(&fedora, Kind::Generic, &package("")), "pkg:generic/a/b@1");
    }
}
