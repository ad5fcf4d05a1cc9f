//! A download ends with the right file or with a reason, whatever the server does.
//!
//! Every test talks to a real server on the loopback interface.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod cellar;
mod cuts;
mod documents;
mod environment;
mod failures;
mod limits;
mod redirects;
mod resume;
mod server;
mod space;
mod tls;
mod unvouched;
