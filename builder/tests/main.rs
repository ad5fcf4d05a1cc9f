//! The promises of this program, one file each.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the right answer")]

mod bootstrap;
mod build_directory;
mod command_line;
mod common;
mod comparison;
mod debian;
mod failures;
mod fallback;
mod foreign;
mod images;
mod limits;
mod lints;
mod managers;
mod network;
mod oracle;
mod progress;
mod rootless;
mod scripts;
mod sources;
mod stages;
