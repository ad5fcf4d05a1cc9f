//! The image server: it imports builds, signs and publishes them as generations, and serves them.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cli`], [`commands`] | what was typed; one file per command |
//! | [`data`] | the data directory, its layout and its one writer at a time |
//! | [`store`], [`import`], [`lint`] | the builds, in a directory or an object store, how one enters, and what it must be for that |
//! | [`channel`] | which builds a channel offers, and offered before |
//! | [`delta`] | files that make the rootfs of a build out of that of an earlier one |
//! | [`retention`] | which builds are kept, and for how long what was listed stays downloadable |
//! | [`keys`] | the two signing keys |
//! | [`catalog`], [`offers`] | what the store says about its builds, and which clients each suits |
//! | [`documents`] | the documents of a generation as values: index, streams, certificates |
//! | [`generation`], [`publish`] | generations on disk, and how a new one becomes visible |
//! | [`export`] | what is published as plain files, for other web servers |
//! | [`operations`], [`token`] | the operations database, and the tokens of builders in it |
//! | [`upload`] | builds that are on their way in |
//! | [`config`], [`tls`], [`serve`] | the running server, with the pages for people |
//! | [`checkpoint`], [`files`], [`limits`] | where tests kill us, files that appear whole, every limit |
//!
//! Data flows one way: a build directory is imported into the store, a publish makes a generation from the store, and
//! the server answers from the store and an immutable copy of the current generation in memory.

pub mod catalog;
pub mod channel;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod config;
pub mod data;
pub mod delta;
pub mod documents;
pub mod export;
pub mod files;
pub mod generation;
pub mod import;
pub mod keys;
pub mod limits;
pub mod lint;
pub mod offers;
pub mod operations;
pub mod publish;
pub mod retention;
pub mod serve;
pub mod store;
pub mod tls;
pub mod token;
pub mod upload;

mod error;

pub use error::Error;

use std::process::ExitCode;

use clap::Parser;

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    cli::run(cli::Cli::parse())
}
