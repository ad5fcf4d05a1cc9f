//! Promises of the embedded runtime, each file one, kept by the real program with containers of busybox.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attacks;
mod autostart;
mod cgroups;
mod config;
mod console;
mod copies;
mod exec_status;
mod exec_view;
mod foreground;
mod freeze;
mod gui;
mod hooks;
mod idmap;
mod idmapped;
mod info;
mod inits;
mod isolation;
mod killed;
mod library;
mod life;
mod names;
mod network;
mod overlays;
mod peer;
mod shared_extents;
mod snapshots;
mod stop;
mod support;
mod systemd;
#[path = "../shared/terminal.rs"]
mod terminal;
mod user;
mod user_network;
