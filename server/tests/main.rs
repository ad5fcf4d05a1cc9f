//! What the server promises, one promise a file, by the real program and real peers.

mod support;

mod channels;
mod command_line;
mod consistency;
mod freshness;
mod hkp;
mod hostile;
mod import;
mod killed;
mod requests;
mod signatures;
mod tls;
