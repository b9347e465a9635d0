#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| anycast_ctl::targets::fleet(octets));
