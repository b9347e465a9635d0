//! Lengths, types and status values.

/// Hop limit of emitted mobility messages.
pub const HOP_LIMIT: u8 = 64;
/// Length of an emitted packet at most: IPv6 header 40, Binding Update with every option 56.
pub const MAX_PACKET_LEN: usize = 96;

/// MH Type values, RFC 6275 section 6.1.
pub mod mh_type {
    /// Binding Refresh Request.
    pub const BINDING_REFRESH_REQUEST: u8 = 0;
    /// Home Test Init.
    pub const HOME_TEST_INIT: u8 = 1;
    /// Care-of Test Init.
    pub const CARE_OF_TEST_INIT: u8 = 2;
    /// Home Test.
    pub const HOME_TEST: u8 = 3;
    /// Care-of Test.
    pub const CARE_OF_TEST: u8 = 4;
    /// Binding Update.
    pub const BINDING_UPDATE: u8 = 5;
    /// Binding Acknowledgement.
    pub const BINDING_ACK: u8 = 6;
    /// Binding Error.
    pub const BINDING_ERROR: u8 = 7;
}

/// Status values of a Binding Error, RFC 6275 section 6.1.9.
pub mod error_status {
    /// No binding for the Home Address destination option.
    pub const UNKNOWN_BINDING: u8 = 1;
    /// The MH Type is not recognized.
    pub const UNRECOGNIZED_MH_TYPE: u8 = 2;
}
