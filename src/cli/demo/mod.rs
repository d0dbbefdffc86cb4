//! `outrigger demo`: the shipped configuration against local receivers.

pub mod answer;
pub mod authority;
pub mod receiver;

#[cfg(test)]
mod exchange;
