//! Every byte that crosses a boundary between the builder, the server, the client and their peers.
//!
//! | module | what it holds |
//! |---|---|
//! | [`name`], [`image`], [`arch`], [`serial`] | names that reach a file system or a URL, each a type with one door |
//! | [`time`], [`digest`], [`compat`] | points in time, sha256 and sizes, LXC compat levels and modes |
//! | [`index`] | the classic LXC index, parsed and rendered |
//! | [`streams`] | simplestreams documents, ours and Incus's |
//! | [`delta`] | files that make the rootfs of a build out of that of an earlier one |
//! | [`metadata`] | LXC metadata (`meta.tar.xz`) and Incus metadata (`metadata.yaml`) as values |
//! | [`lxc_config`] | the `lxc.*` configuration language |
//! | [`record`] | the build record, `build.json` |
//! | [`layout`] | where each file of a repository lives |
//! | [`certificate`], [`signature`], [`verified`] | OpenPGP certificates, signing, and the one door to [`verified::Verified`] |
//! | [`checksum`], [`links`], [`publisher`] | what others publish: lists of checksums, pages about directories, signatures |
//!
//! This crate is pure: no file system, no network, no async, no clock. Where a rule depends on the time,
//! `now` is an argument.

pub mod arch;
pub mod certificate;
pub mod checksum;
pub mod compat;
pub mod delta;
pub mod digest;
pub mod image;
pub mod index;
pub mod layout;
pub mod links;
pub mod lxc_config;
pub mod metadata;
pub mod name;
pub mod publisher;
pub mod record;
pub mod serial;
pub mod signature;
pub mod streams;
pub mod text;
pub mod time;
pub mod verified;
