//! Archives that others publish are found, verified and unpacked, and what lies about itself is refused.

mod downloaders;
mod layers;
mod rootfs;
mod site;
