//! What the server promises, one promise a file, by the real program and real peers.

#![allow(clippy::unwrap_used, reason = "what a promise stands on may fail the test that needs it")]

mod support;

mod channels;
mod command_line;
mod consistency;
mod deltas;
mod disk_full;
mod encodings;
mod export;
mod freshness;
mod hkp;
mod hostile;
mod import;
mod killed;
mod object_store;
mod offers;
mod offline_primary;
mod page;
mod postgres;
mod promote;
mod republish;
mod requests;
mod retention;
mod scrub;
mod signatures;
mod systemd;
mod tls;
mod upload;
mod watched;
