//! What a person does with this repository, as a library.

pub mod lab;
pub mod net;
