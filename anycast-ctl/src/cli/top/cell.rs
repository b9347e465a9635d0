//! The cells of a list: what they show, and what they are sorted by.

use std::{cmp::Ordering, net::Ipv6Addr};

use super::super::table::seconds;

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// Words.
    Text(String),
    /// An address, with a port where it is that of one end of a flow.
    Address(Ipv6Addr, Option<u16>),
    /// A number of something.
    Count(u64),
    /// A number of something in each second.
    Rate(f64),
    /// A time in seconds.
    Time(f64),
    /// Nothing is known.
    Nothing,
}

impl Cell {
    /// A time that may not be known.
    pub(super) fn time(seconds: Option<f64>) -> Self {
        seconds.map_or(Self::Nothing, Self::Time)
    }

    /// An address that there may not be.
    pub(super) fn address(address: Option<Ipv6Addr>) -> Self {
        address.map_or(Self::Nothing, |address| Self::Address(address, None))
    }

    /// What is shown.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Address(address, None) => address.to_string(),
            Self::Address(address, Some(port)) => format!("[{address}]:{port}"),
            Self::Count(count) => count.to_string(),
            Self::Rate(rate) if *rate < 0.05 => "0".to_owned(),
            Self::Rate(rate) if *rate < 10.0 => format!("{rate:.1}"),
            Self::Rate(rate) => format!("{rate:.0}"),
            Self::Time(time) => seconds(*time),
            Self::Nothing => "-".to_owned(),
        }
    }

    /// Whether it stands at the right of its column, and the greatest comes first.
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Count(_) | Self::Rate(_) | Self::Time(_))
    }

    /// The order of a column. What is not known comes last in ascending order.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Count(a), Self::Count(b)) => a.cmp(b),
            (Self::Rate(a), Self::Rate(b)) | (Self::Time(a), Self::Time(b)) => a.total_cmp(b),
            (Self::Address(a, port), Self::Address(b, other)) => (a, port).cmp(&(b, other)),
            (Self::Nothing, Self::Nothing) => Ordering::Equal,
            (Self::Nothing, _) => Ordering::Greater,
            (_, Self::Nothing) => Ordering::Less,
            (a, b) => a.text().cmp(&b.text()),
        }
    }
}

/// A text that has room in `width` columns. Of an address both ends matter: what is too much goes from the middle.
pub(super) fn fitted(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let Some(room) = width.checked_sub(1) else {
        return String::new();
    };
    let end = room / 2 + room % 2;
    let first = text.chars().take(room - end);
    first
        .chain(['…'])
        .chain(text.chars().skip(length - end))
        .collect()
}

/// Widths of columns that together have `room`. Columns that need more than there is are cut back, the widest first;
/// those in `fixed`, numbers, are not.
pub(super) fn widths(natural: &[usize], fixed: &[bool], gap: usize, room: usize) -> Vec<usize> {
    /// A column of words is never narrower.
    const LEAST: usize = 6;
    let mut widths = natural.to_vec();
    let gaps = gap * natural.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > room {
        let columns = widths.iter_mut().zip(fixed);
        let Some(widest) = columns
            .filter(|(width, fixed)| !**fixed && **width > LEAST)
            .map(|(width, _)| width)
            .max()
        else {
            break;
        };
        *widest -= 1;
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_an_address_stay() {
        assert_eq!(fitted("2001:db8:1::100", 15), "2001:db8:1::100");
        assert_eq!(fitted("2001:db8:1::100", 9), "2001…:100");
        assert_eq!(fitted("2001:db8:1::100", 0), "");
    }

    #[test]
    fn the_widest_words_give_way_and_numbers_never() {
        assert_eq!(
            widths(&[30, 20, 5], &[false, false, true], 2, 80),
            [30, 20, 5]
        );
        assert_eq!(
            widths(&[30, 20, 5], &[false, false, true], 2, 44),
            [18, 17, 5]
        );
        assert_eq!(widths(&[30, 9], &[true, true], 2, 10), [30, 9]);
    }

    #[test]
    fn numbers_sort_as_numbers() {
        assert_eq!(Cell::Count(9).order(&Cell::Count(10)), Ordering::Less);
        assert_eq!(Cell::Nothing.order(&Cell::Count(10)), Ordering::Greater);
        let address = |text: &str| Cell::Address(text.parse().expect("an address"), None);
        assert_eq!(
            address("2001:db8::9").order(&address("2001:db8::10")),
            Ordering::Less
        );
    }
}
