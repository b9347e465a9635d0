//! Mobility options (RFC 6275 section 6.2).
