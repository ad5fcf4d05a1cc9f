//! One file per command: its `Args`, and `run`.

pub mod autostart;
pub mod cache;
pub mod console;
pub mod copy;
pub mod create;
pub mod destroy;
pub mod doctor;
pub mod exec;
pub mod fetch;
pub mod freeze;
pub mod info;
pub mod internal_complete;
pub mod internal_runtime;
pub mod list;
pub mod logs;
pub mod ls;
pub mod remote;
pub mod restart;
pub mod restore;
pub mod snapshot;
pub mod start;
pub mod stop;
pub mod template;
pub mod unfreeze;
pub mod wait;

mod error;
mod source;

pub use error::CommandError;
pub use source::{ImageSpec, SourceArgs};
