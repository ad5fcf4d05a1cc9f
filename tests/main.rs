//! Whole-system promises: each file is one, and drives the real programs and real peers.

mod embedded_runtime;
mod python_lxc;
mod quickstart;
mod refusals;
mod reproducible;
mod stock_template;
mod support;
mod template;
mod unprivileged;
