//! What BTF says of the kernel's structures, and of the functions of a program: where a field is, and the number of a
//! function. aya reads BTF for itself, and tells neither.

use std::ops::Range;

/// Kinds of types (`linux/btf.h`).
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const ENUM64: u32 = 19;
}

const MAGIC: u16 = 0xeb9f;
/// Anonymous structures within each other that are followed.
const DEPTH: u32 = 8;

/// BTF in the byte order of this machine.
pub(super) struct Btf {
    octets: Vec<u8>,
    strings: Range<usize>,
    /// By number, less one: type 0 is `void`.
    types: Vec<Type>,
}

struct Type {
    name: usize,
    kind: u32,
    /// Whether offsets of members have the width of a bit field as well.
    flagged: bool,
    /// What follows it.
    more: Range<usize>,
}

impl Btf {
    pub(super) fn parse(octets: Vec<u8>) -> Option<Self> {
        if u16::from_ne_bytes(*octets.first_chunk()?) != MAGIC {
            return None;
        }
        let field = |at| number(&octets, at);
        let header = field(4)?;
        let start = header.checked_add(field(8)?)?;
        let end = start.checked_add(field(12)?)?;
        let strings = header.checked_add(field(16)?)?;
        let strings = strings..strings.checked_add(field(20)?)?;
        octets.get(strings.clone())?;
        octets.get(start..end)?;
        let mut types = Vec::new();
        let mut at = start;
        while at < end {
            let (name, info) = (number(&octets, at)?, number(&octets, at + 4)?);
            let count = info & 0xffff;
            let kind = u32::try_from(info >> 24 & 0x1f).ok()?;
            let length = match kind {
                kind::INT | kind::VAR | kind::DECL_TAG => 4,
                kind::ARRAY => 12,
                kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => count * 12,
                kind::ENUM | kind::FUNC_PROTO => count * 8,
                _ => 0,
            };
            let more = at + 12..at + 12 + length;
            octets.get(more.clone())?;
            at = more.end;
            types.push(Type {
                name,
                kind,
                flagged: info >> 31 != 0,
                more,
            });
        }
        Some(Self {
            octets,
            strings,
            types,
        })
    }

    /// The number of a function.
    pub(super) fn function(&self, name: &str) -> Option<u32> {
        let index = self.find(kind::FUNC, name)?;
        u32::try_from(index + 1).ok()
    }

    /// Octets from the start of a structure to a field, which may stand in anonymous ones within it.
    pub(super) fn offset(&self, structure: &str, field: &str) -> Option<u32> {
        let bits = self.bits(self.find(kind::STRUCT, structure)?, field, DEPTH)?;
        u32::try_from(bits / 8).ok()
    }

    fn find(&self, kind: u32, name: &str) -> Option<usize> {
        self.types
            .iter()
            .position(|it| it.kind == kind && self.is_called(it.name, name))
    }

    fn bits(&self, index: usize, field: &str, depth: u32) -> Option<usize> {
        let of = self.types.get(index)?;
        if !matches!(of.kind, kind::STRUCT | kind::UNION) {
            return None;
        }
        let mut members = of.more.clone().step_by(12);
        members.find_map(|at| {
            let [name, member, offset] = [0, 4, 8].map(|of| number(&self.octets, at + of));
            let (name, offset) = (name?, offset?);
            let offset = if of.flagged {
                offset & 0xff_ffff
            } else {
                offset
            };
            if self.is_called(name, field) {
                return Some(offset);
            }
            if !self.is_called(name, "") || depth == 0 {
                return None;
            }
            let inner = self.bits(member?.checked_sub(1)?, field, depth - 1)?;
            Some(offset + inner)
        })
    }

    fn is_called(&self, at: usize, name: &str) -> bool {
        let rest = self.octets.get(self.strings.start + at..self.strings.end);
        rest.and_then(|rest| rest.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }
}

fn number(octets: &[u8], at: usize) -> Option<usize> {
    let octets = octets.get(at..)?.first_chunk()?;
    usize::try_from(u32::from_ne_bytes(*octets)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int a; union { struct { long b; }; }; int c: 3; }`, and a function `f`, as pahole 1.24 encodes
    /// them, with types in another order.
    fn example() -> Vec<u8> {
        let mut types: Vec<u32> = Vec::new();
        let info = |kind: u32, count: u32| kind << 24 | count;
        types.extend([1, info(kind::INT, 0), 4, 32]); // 1: int
        types.extend([5, info(kind::STRUCT, 3) | 1 << 31, 24]); // 2: outer
        types.extend([12, 1, 0, 0, 3, 64, 16, 1, 3 << 24 | 128]);
        types.extend([0, info(kind::UNION, 1), 8, 0, 4, 0]); // 3
        types.extend([0, info(kind::STRUCT, 2), 8, 18, 1, 0, 14, 1, 32]); // 4
        types.extend([0, info(kind::FUNC_PROTO, 0), 1]); // 5
        types.extend([20, info(kind::FUNC, 1), 5]); // 6: f
        let strings = b"\0int\0outer\0\0a\0b\0c\0z\0f\0";
        let length = u32::try_from(types.len() * 4).expect("short");
        let mut octets = MAGIC.to_ne_bytes().to_vec();
        octets.extend([1, 0]);
        for number in [24, 0, length, length, 22] {
            octets.extend(u32::to_ne_bytes(number));
        }
        octets.extend(types.iter().flat_map(|number| number.to_ne_bytes()));
        octets.extend(strings);
        octets
    }

    #[test]
    fn fields_of_anonymous_members_are_found_where_they_are() {
        let btf = Btf::parse(example()).expect("BTF");
        assert_eq!(btf.offset("outer", "a"), Some(0));
        assert_eq!(btf.offset("outer", "b"), Some(8 + 4));
        assert_eq!(btf.offset("outer", "z"), Some(8));
        assert_eq!(btf.offset("outer", "c"), Some(16));
        assert_eq!(btf.offset("outer", "d"), None);
        assert_eq!(btf.offset("out", "a"), None);
        assert_eq!(btf.function("f"), Some(6));
        assert_eq!(btf.function("outer"), None);
    }

    #[test]
    fn what_is_cut_is_no_btf() {
        let example = example();
        for length in 0..example.len() {
            assert!(Btf::parse(example[..length].to_vec()).is_none(), "{length}");
        }
    }
}
