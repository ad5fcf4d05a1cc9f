//! One file per command: its `Args`, and `run`.

pub mod cache;
pub mod create;
pub mod destroy;
pub mod exec;
pub mod fetch;
pub mod info;
pub mod internal_runtime;
pub mod list;
pub mod logs;
pub mod ls;
pub mod remote;
pub mod restart;
pub mod start;
pub mod stop;
pub mod template;
pub mod wait;

mod error;
mod source;

pub use error::CommandError;
pub use source::{ImageSpec, SourceArgs};
