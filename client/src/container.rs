//! Container directories: a root file system and a `config` that both LXC and the embedded runtime can run.

pub mod base;
pub mod compose;
pub mod create;
pub(crate) mod overlie;
pub mod placeholders;
pub mod policy;
pub(crate) mod populate;
pub mod rootfs;
pub(crate) mod staging;
