//! `outrigger demo`: the shipped configuration against local receivers.

pub mod authority;
pub mod receiver;

#[cfg(test)]
mod exchange;
