//! An OCI image layout (image-spec 1.1, `image-layout.md`, `layer.md`): an index names manifests, a manifest names
//! layers, each by its digest; the layers, one over the other, are the root file system.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use archive::beneath::RootDir;
use archive::unpack::{Excludes, Listed};
use formats::arch::Arch;
use formats::digest::{FileDigest, Hasher, Sha256};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::SourceError;
use super::stream::Stream;
use crate::build::tree::Tree;
use crate::limits;

/// Unpacks the layers of the image for `arch` in the layout at `layout` into `tree`.
pub(super) fn unpack_layers(name: &str, layout: &Path, tree: &Path, arch: Arch, log: &File) -> Result<(), SourceError> {
    let layout = Layout { name, directory: layout };
    let content = RootDir::open(layout.directory)?.read("index.json", limits::SOURCE_DOCUMENT_BYTES);
    let content = content.map_err(|error| layout.wrong(format!("`index.json`: {error}")))?;
    let mut document: Document = layout.parse("index.json", &content)?;
    for _ in 0..DEPTH {
        let Some(manifests) = document.manifests else { break };
        let fits = |descriptor: &Descriptor| match &descriptor.platform {
            Some(platform) => platform.os == "linux" && platform.architecture == go_name(arch),
            None => true,
        };
        let chosen =
            manifests.into_iter().find(fits).ok_or_else(|| layout.wrong(format!("nothing in it is for {arch}")))?;
        document = layout.document(&chosen)?;
    }
    let layers = document.layers.ok_or_else(|| layout.wrong("its manifest has no layers".to_owned()))?;
    for layer in layers {
        let stream = Stream { name, file: layout.blob(&layer)?, log };
        let members = stream.list()?;
        let whiteouts = clear(&Tree::open(tree)?, &members)?;
        stream.unpack(tree, Excludes::from_lines(whiteouts.join("\n").as_bytes()))?;
    }
    Ok(())
}

/// Removes from the tree what a layer says is gone, and what it puts something else in the place of. Returns the members
/// that say so: they are no files.
fn clear(tree: &Tree, members: &[Listed]) -> Result<Vec<String>, SourceError> {
    let mut whiteouts = Vec::new();
    for member in members {
        let path = String::from_utf8_lossy(&member.path).into_owned();
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name == OPAQUE {
            tree.empty(parent)?;
        } else if let Some(gone) = name.strip_prefix(WHITEOUT) {
            tree.remove(&format!("{parent}/{gone}"))?;
        } else {
            if !member.is_directory && tree.is_directory(&path)? {
                tree.remove(&path)?;
            }
            continue;
        }
        whiteouts.push(escaped(&path));
    }
    Ok(whiteouts)
}

/// A path as a pattern that matches only itself.
fn escaped(path: &str) -> String {
    path.chars().flat_map(|c| if "*?[\\".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}

struct Layout<'a> {
    name: &'a str,
    directory: &'a Path,
}

/// An index has manifests, a manifest has layers.
#[derive(Deserialize)]
struct Document {
    manifests: Option<Vec<Descriptor>>,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    size: u64,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

impl Layout<'_> {
    fn wrong(&self, problem: String) -> SourceError {
        SourceError::Oci { name: self.name.to_owned(), problem }
    }

    fn parse<T: DeserializeOwned>(&self, what: &str, content: &[u8]) -> Result<T, SourceError> {
        serde_json::from_slice(content).map_err(|error| self.wrong(format!("`{what}`: {error}")))
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Document, SourceError> {
        let mut content = Vec::new();
        self.blob(descriptor)?.take(limits::SOURCE_DOCUMENT_BYTES).read_to_end(&mut content)?;
        self.parse(&descriptor.digest, &content)
    }

    /// What a descriptor names, if it is that.
    fn blob(&self, descriptor: &Descriptor) -> Result<File, SourceError> {
        let digest = &descriptor.digest;
        let sha256 = digest.strip_prefix("sha256:").and_then(|digits| digits.parse::<Sha256>().ok());
        let sha256 = sha256.ok_or_else(|| self.wrong(format!("`{digest}` is no sha256 digest")))?;
        let directory = File::open(self.directory)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let opened = rustix::fs::openat2(&directory, format!("blobs/sha256/{sha256}"), flags, Mode::empty(), resolve);
        let mut file = File::from(opened.map_err(|error| self.wrong(format!("blob `{digest}`: {error}")))?);
        if !file.metadata()?.is_file() || file.metadata()?.size() != descriptor.size {
            return Err(self.wrong(format!("blob `{digest}` is not of {} bytes", descriptor.size)));
        }
        let mut hasher = Hasher::default();
        std::io::copy(&mut file, &mut hasher)?;
        if hasher.finish() != (FileDigest { size_bytes: descriptor.size, sha256 }) {
            return Err(self.wrong(format!("blob `{digest}` has another digest")));
        }
        file.rewind()?;
        Ok(file)
    }
}

/// Go's name of an architecture, which OCI uses.
fn go_name(arch: Arch) -> &'static str {
    match arch.as_str() {
        "i386" => "386",
        "armhf" | "armel" => "arm",
        "ppc64el" => "ppc64le",
        other => other,
    }
}

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Indexes may name indexes.
const DEPTH: usize = 4;
