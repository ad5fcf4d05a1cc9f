//! What an export writes: the documents of a generation, and the files that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use formats::record::BuildFile;
use formats::streams::Products;

use super::{ExportError, of_build};
use crate::documents::{images, is_products};
use crate::generation::Generation;
use crate::store::{RECORD, Store};

/// The documents of a generation, read one at a time.
pub(super) struct Documents<'a> {
    generation: &'a Generation,
    /// Their paths.
    pub(super) paths: BTreeSet<String>,
    /// Each `images.json` with the products files that it is made of.
    images: BTreeMap<String, Vec<String>>,
}

impl<'a> Documents<'a> {
    pub(super) fn of(generation: &'a Generation) -> io::Result<Self> {
        let files = generation.files()?;
        let images = generation.images(&files)?;
        let paths = files.into_keys().chain(images.keys().cloned()).collect();
        Ok(Self { generation, paths, images })
    }

    /// A document, in parts.
    pub(super) fn read(&self, path: &str) -> io::Result<Vec<Bytes>> {
        let Some(products) = self.images.get(path) else { return Ok(vec![self.generation.read(path)?.into()]) };
        let read = |path: &String| self.generation.read(path).map(Bytes::from);
        let products = products.iter().map(read).collect::<io::Result<Vec<_>>>()?;
        images::parts(&products).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, images::NOT_OURS))
    }

    /// Every file of a build that any products file names, and the small ones beside them. A generation holds the
    /// products files of the last day, so this is what indexes of the last day lead to.
    pub(super) fn named_files(&self, store: &Store) -> Result<BTreeSet<String>, ExportError> {
        let mut named = BTreeSet::new();
        for path in self.paths.iter().filter(|path| is_products(path)) {
            let products: Products = serde_json::from_slice(&self.generation.read(path)?)
                .map_err(|source| ExportError::Damaged { path: path.into(), source })?;
            for version in products.products.values().flat_map(|product| product.versions.values()) {
                named.extend(version.items.values().map(|item| item.path.clone()));
            }
        }
        let directories: BTreeSet<String> =
            named.iter().filter_map(|path| Some(path.rsplit_once('/')?.0.to_owned())).collect();
        for directory in directories {
            let signed = [BuildFile::RootfsTarXz, BuildFile::MetaTarXz].map(|file| format!("{file}.asc"));
            let beside = [RECORD.to_owned(), "SHA256SUMS".to_owned(), "SHA256SUMS.gpg".to_owned()];
            let Some((build, _)) = of_build(&format!("{directory}/")) else { continue };
            let there = store.names(&build)?;
            let small = signed.into_iter().chain(beside).filter(|name| there.contains(name));
            named.extend(small.map(|name| format!("{directory}/{name}")));
        }
        Ok(named)
    }
}
