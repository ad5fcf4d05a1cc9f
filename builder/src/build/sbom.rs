//! The software bill of materials, in SPDX 2.3.

use formats::digest::Sha256;
use formats::image::ImageId;
use formats::serial::Serial;
use formats::time::Timestamp;
use serde_json::{Value, json};

use super::inventory::Package;

/// The document for one build, as JSON that ends in a newline. Its namespace is made from the content, so that equal
/// builds have equal documents.
pub(crate) fn spdx(image: &ImageId, serial: &Serial, created: Timestamp, packages: &[Package]) -> String {
    let entries: Vec<Value> = packages.iter().map(|package| entry(image, package)).collect();
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

fn entry(image: &ImageId, package: &Package) -> Value {
    let Package { name, version, arch, sha256 } = package;
    // A package URL escapes what its own syntax uses.
    let escaped = version.replace('%', "%25").replace('+', "%2B").replace(':', "%3A");
    let distribution = &image.distribution;
    let mut entry = json!({
        "SPDXID": format!("SPDXRef-Package-{}", identifier(&format!("{name}-{arch}"))),
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator":
                format!("pkg:deb/{distribution}/{}@{escaped}?arch={arch}", name.replace('+', "%2B")),
        }],
    });
    if let Some(sha256) = sha256 {
        entry["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": sha256}]);
    }
    entry
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
        let text = spdx(&image, &serial, Timestamp::from_unix(1_795_411_320), &[package]);
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["creationInfo"]["created"], "2026-11-23T05:22:00Z");
        let entry = &document["packages"][0];
        assert_eq!(entry["SPDXID"], "SPDXRef-Package-g-2b--2b--amd64");
        assert_eq!(entry["externalRefs"][0]["referenceLocator"], "pkg:deb/debian/g%2B%2B@4%3A12.2%2B1?arch=amd64");
        assert_eq!(document["relationships"][0]["relatedSpdxElement"], entry["SPDXID"]);
    }
}
