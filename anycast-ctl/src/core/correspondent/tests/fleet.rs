//! Several gateways on a bus, face to face in virtual time, with somebody who reads all that is said there.

mod bench;
mod stranger;
mod together;

use super::*;
