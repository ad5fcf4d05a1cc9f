//! Promises of the embedded runtime, each file one, kept by the real program with containers of busybox.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod autostart;
mod cgroups;
mod config;
mod console;
mod copies;
mod exec_status;
mod exec_view;
mod foreground;
mod freeze;
mod idmap;
mod info;
mod isolation;
mod killed;
mod library;
mod life;
mod names;
mod overlays;
mod peer;
mod shared_extents;
mod snapshots;
mod stop;
mod support;
mod systemd;
