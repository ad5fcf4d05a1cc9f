//! The only code that packs or unpacks a tar archive.
//!
//! | module | what it does |
//! |---|---|
//! | [`pack`] | a tree becomes a tar archive whose bytes depend on the tree alone |
//! | [`xz`] | xz in several blocks, written and read in parallel |
//! | [`unpack`] | a tar archive of unknown origin becomes a tree that cannot reach outside its directory |
//! | [`members`] | the few files of a metadata tarball, in memory |
//! | [`listing`] | what is in an archive, with digests |
//! | [`beneath`] | single files of an unpacked tree, read and written without leaving it |
//! | [`hashing`] | the digest of what is written, in the same pass |
//! | [`placeholder`] | devices in trees that are made where nobody may make devices |
//! | [`ids`] | which user and group ids a user namespace holds |
//!
//! GNU tar's result is the yardstick: what it restores, this crate restores; what it would follow out of the
//! directory, this crate refuses. The `tar` crate encodes and decodes header blocks; everything else about the format
//! (extended headers, long names, sparse files) is here, because image archives contain what its reader misreads.

pub mod beneath;
pub mod hashing;
pub mod ids;
pub mod listing;
pub mod members;
pub mod pack;
pub mod placeholder;
pub mod unpack;
pub mod xz;

mod acl;
mod text;

pub use pack::compressed::{Packed, pack_members_and_tree_xz, pack_members_xz, pack_tree_xz};
