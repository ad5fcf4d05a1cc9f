//! Fakes for tests, made in milliseconds and valid in every byte.
//!
//! | item | what it is |
//! |---|---|
//! | [`FakeImage`] | an image, and the build directory the builder would have written for it |
//! | [`FakeRootfs`] | the tar archive inside it, with any entry a test needs |
//! | [`skip`] | what a test says that cannot run here |
//!
//! This crate is for tests only, so it panics where a test could not go on. It packs with the `tar` crate and not with
//! ours: what our programs read in tests was not written by the code that reads it.

#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a fake that cannot be made ends the test")]

mod image;
mod rootfs;
mod skipping;

pub use image::FakeImage;
pub use rootfs::FakeRootfs;
pub use skipping::skip;
pub use tar::EntryType;
