//! Whole-system promises: each file is one, and drives the real programs and real peers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "everything here is a test")]

mod channels;
mod classic_server;
mod classic_template;
mod deltas;
mod diversion;
mod embedded_runtime;
mod embedded_unprivileged;
mod fuzzing;
mod gpg_peers;
mod idmap;
mod incus;
mod key_change;
mod killed_create;
mod lxc_api;
mod lxc_versions;
mod names;
mod nginx;
mod python_lxc;
mod quickstart;
mod refusals;
mod reproducible;
mod shared_file_systems;
mod stock_template;
mod support;
mod systemd_pull;
mod template;
mod unprivileged;
