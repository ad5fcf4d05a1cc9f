//! Promises of the client, each file one, kept by the real program against a real server on loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod cache;
mod completion;
mod containers;
mod deltas;
mod doctor;
mod full_disk;
mod hostile_images;
mod killed;
mod killed_anywhere;
mod logins;
mod manual;
mod many_images;
mod mapped_creates;
mod overlap;
mod programs;
mod proxies;
mod questions;
mod remotes;
mod shared_trees;
mod stock_cache;
mod template;
mod template_attacks;
mod template_peer;
mod template_surroundings;
mod template_weaknesses;
mod template_words;
#[path = "../shared/terminal.rs"]
mod terminal;
mod tls;
mod tls_remotes;
mod trust;
mod unreachable;
mod waiting;
mod warm;
mod warming;
mod world;
