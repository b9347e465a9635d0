//! Several gateways on a bus, face to face in virtual time, with somebody who reads all that is said there.

mod apart;
mod bench;
mod ends;
mod snapshot;
mod stranger;
mod together;

use super::*;
