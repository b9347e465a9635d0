//! The lifetimes of RFC 6275 section 5.2.7.

use super::{super::nonces::Nonces, *};

fn rng() -> Generator {
    Generator::seed_from_u64(3)
}

#[test]
fn a_nonce_is_handed_out_for_30_seconds() {
    let mut rng = rng();
    let mut nonces = Nonces::new(&mut rng);
    let mut index = |seconds| nonces.current(at(seconds), &mut rng).index();
    let first = index(100);
    assert_eq!(index(129), first);
    assert_eq!(index(130), first.wrapping_add(1));
    assert_eq!(index(159), first.wrapping_add(1));
    // Nothing is made while nobody asks.
    assert_eq!(index(100_000), first.wrapping_add(2));
}

#[test]
fn a_nonce_is_accepted_for_240_seconds_after_its_first_use() {
    let mut rng = rng();
    let mut nonces = Nonces::new(&mut rng);
    let index = nonces.current(at(100), &mut rng).index();
    // Others come and go; this changes nothing for it.
    for seconds in (100..340).step_by(7) {
        nonces.current(at(seconds), &mut rng);
        assert!(nonces.find(at(seconds), index).is_some(), "{seconds}");
    }
    assert!(nonces.find(at(339), index).is_some());
    assert!(nonces.find(at(340), index).is_none());
}

#[test]
fn a_nonce_that_is_handed_out_no_more_retires_no_other() {
    let mut rng = rng();
    let mut nonces = Nonces::new(&mut rng);
    let old = nonces.current(at(100), &mut rng).index();
    let new = nonces.current(at(130), &mut rng).index();
    nonces.retire(at(131), old);
    assert_eq!(nonces.current(at(131), &mut rng).index(), new);
    nonces.retire(at(131), new);
    assert_ne!(nonces.current(at(131), &mut rng).index(), new);
}

#[test]
fn a_token_is_good_for_at_least_210_seconds_however_late_it_was_made() {
    let mut rng = rng();
    let mut nonces = Nonces::new(&mut rng);
    for made in (0..2000).step_by(13) {
        let index = nonces.current(at(made), &mut rng).index();
        assert!(nonces.find(at(made + 210), index).is_some(), "{made}");
        assert!(nonces.find(at(made + 240), index).is_none(), "{made}");
    }
}

#[test]
fn an_index_that_was_not_given_out_is_not_known() {
    let mut rng = rng();
    let mut nonces = Nonces::new(&mut rng);
    let index = nonces.current(at(1), &mut rng).index();
    for other in 0..=u16::MAX {
        assert_eq!(nonces.find(at(1), other).is_some(), other == index);
    }
}

#[test]
fn the_index_wraps_and_names_the_new_nonce() {
    let mut rng = rng();
    let mut nonces = Nonces::new(&mut rng);
    let first = nonces.current(at(0), &mut rng);
    let (index, token) = (first.index(), first.home(ANYCAST, CLIENT).expose());
    for renewal in 1..=0x1_0000 {
        let generation = nonces.current(at(renewal * 30), &mut rng);
        if renewal == 0x1_0000 {
            assert_eq!(generation.index(), index);
            assert_ne!(generation.home(ANYCAST, CLIENT).expose(), token);
        } else {
            assert_ne!(generation.index(), index);
        }
    }
}

#[test]
fn key_and_nonce_change_together() {
    // With the key or the nonce kept, one of these would repeat.
    let mut bench = Bench::new(settings());
    let tokens: Vec<[u8; 8]> = (0..20)
        .map(|renewal| bench.home_test(at(renewal * 30)).token.expose())
        .collect();
    for (at, token) in tokens.iter().enumerate() {
        assert!(!tokens[..at].contains(token));
    }
}

#[test]
fn correspondents_do_not_share_keys() {
    let mut one = Bench::new(settings());
    let mut other = Bench::new(settings());
    other.correspondent = Correspondent::new(settings(), at(0), Generator::seed_from_u64(8));
    assert_ne!(
        one.home_test(at(1)).token.expose(),
        other.home_test(at(1)).token.expose()
    );
}
