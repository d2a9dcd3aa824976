//! The only unsafe code: thin wrappers over what neither std nor nix can say.
//!
//! Signal sets are the kernel's own 64 bits here. musl's `sigset_t` calls leave out 32–34, which it keeps for its
//! threads; portero's COMMAND may be a glibc program, whose `SIGRTMIN` is 34, so they are asked for by raw system call.
#![allow(unsafe_code)]

pub mod alarm;
#[cfg(not(any(test, fuzzing)))]
mod arena;
pub mod capabilities;
mod children;
mod descriptors;
pub mod entry;
mod fatal;
pub mod files;
mod fork;
mod line;
mod mask;
mod memory;
pub mod names;
mod output;
mod process;
pub mod signal_names;
mod signals;
mod spawn;
#[cfg(not(any(test, fuzzing, debug_assertions)))]
mod unwinder;

pub use children::{Children, kill, next_change};
pub use descriptors::duplicate;
pub use fatal::fail_as;
pub use fork::{end_of, fork};
pub use line::write_within;
pub use mask::SignalSet;
pub use memory::release_start;
pub use process::{
    environment, executed_path, exit_now, processors, standard_stream, time_since_boot,
};
pub use signals::{
    Arrival, claim_children, is_ignored, next_signal, pending_signals, set_signal_mask, stop_self,
    without_sigpipe,
};
pub use spawn::{ExecError, Image, Job, replace, spawn};
