//! The lab: a network of namespaces on this machine, with the daemon at work in it.

pub mod app;
pub mod topology;
