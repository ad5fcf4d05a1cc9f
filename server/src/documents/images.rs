//! `images.json`: all products files of a channel in one, for readers that expect this name.
//!
//! It is as large as all of them together and changes with each, so a generation has no file of it. It is made of their
//! bytes where it is served or exported.

use bytes::Bytes;
use formats::streams::Products;

/// The parts of the document, in order, made of whole products files; `None` if one of them is none of ours.
pub fn parts(files: &[Bytes]) -> Option<Vec<Bytes>> {
    let mut parts = vec![Bytes::from_static(HEAD.as_bytes())];
    for file in files {
        let members = members(file)?;
        if members.is_empty() {
            continue;
        }
        if parts.len() > 1 {
            parts.push(Bytes::from_static(b","));
        }
        parts.push(file.slice_ref(members));
    }
    parts.push(Bytes::from_static(TAIL.as_bytes()));
    Some(parts)
}

/// A products file as this module can take it apart.
pub fn products_file(products: &Products) -> serde_json::Result<Vec<u8>> {
    let mut json = serde_json::to_vec(products)?;
    json.push(b'\n');
    Ok(json)
}

/// What is wrong when there are no parts.
pub const NOT_OURS: &str = "a products file is not written as this program writes them; publish again";

fn members(file: &[u8]) -> Option<&[u8]> {
    file.strip_prefix(HEAD.as_bytes())?.strip_suffix(TAIL.as_bytes())
}

/// How every products file of ours starts, as [`Products`] is written.
const HEAD: &str = r#"{"content_id":"images","datatype":"image-downloads","format":"products:1.0","products":{"#;
const TAIL: &str = "}}\n";

#[cfg(test)]
mod tests {
    use testkit::FakeImage;

    use super::*;
    use crate::delta::Deltas;
    use crate::documents::streams::products;
    use crate::documents::streams::tests::entry;

    #[test]
    fn the_products_files_of_all_distributions_are_one_document() {
        let builds = ["alpine/3.20/amd64/default", "debian/trixie/amd64/default", "debian/trixie/amd64/cloud"];
        let builds = builds.map(|image| entry(&FakeImage::new(image).incus()));
        let [alpine, trixie, cloud] = builds.each_ref();
        let files = [vec![alpine], vec![], vec![trixie, cloud]]
            .map(|builds| Bytes::from(products_file(&products(&builds, &Deltas::default())).unwrap()));
        let joined: Products = serde_json::from_slice(&parts(&files).unwrap().concat()).unwrap();
        assert_eq!(joined, products(&[alpine, trixie, cloud], &Deltas::default()));
        let nothing: Products = serde_json::from_slice(&parts(&[]).unwrap().concat()).unwrap();
        assert_eq!(nothing, products(&[], &Deltas::default()));
    }

    #[test]
    fn what_is_no_products_file_of_ours_is_not_taken_apart() {
        for other in [&b"{}"[..], b"", b"{\"content_id\":\"images\",\"products\":{}}"] {
            assert_eq!(parts(&[Bytes::from_static(other)]), None);
        }
    }
}
