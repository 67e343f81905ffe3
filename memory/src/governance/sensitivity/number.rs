//! Numbers in groups of digits: telephones, payment cards, social security numbers, and addresses of version 4.
//!
//! Groups are read once, up to a small limit, and then judged together, longest first.

use super::scan::{Scan, span};
use super::{SensitiveSpan, SensitivityKind, account};

/// No number that is looked for has more groups or digits.
const GROUPS_MAX: usize = 10;
const DIGITS_MAX: usize = 19;

/// One group of digits.
#[derive(Clone, Copy, Default)]
struct Group {
    start: usize,
    end: usize,
    /// What stands before it: a separator, or `(` for a group in brackets; zero for the first.
    before: u8,
}

/// Groups that may be one number.
struct Groups {
    list: [Group; GROUPS_MAX],
    count: usize,
    has_plus: bool,
}

/// Reads a number at a digit, `+` or `(`.
pub(super) fn number(scan: &Scan<'_>, at: usize) -> Option<SensitiveSpan> {
    if !is_free_before(scan, at) {
        return None;
    }
    let groups = groups(scan, at)?;
    let mut is_announced = None;
    for count in (1..=groups.count).rev() {
        let list = groups.list.get(..count)?;
        let last = list.last()?;
        // Only an address may be followed by the colon and digits of a port.
        let has_port = scan.byte(last.end) == Some(b':') && count == 4;
        if !has_port && !is_free_after(scan, last.end) {
            continue;
        }
        let (mut digits, mut length) = ([0_u8; DIGITS_MAX], 0);
        for byte in list.iter().flat_map(|group| scan.slice(group.start, group.end)) {
            if let Some(digit) = digits.get_mut(length) {
                *digit = *byte;
            }
            length += 1;
        }
        let Some(digits) = digits.get(..length) else { continue };
        let judged = Number { scan, list, digits, has_plus: groups.has_plus };
        if has_port && !judged.is_ip_version_4() {
            continue;
        }
        let kind = judged.kind().or_else(|| {
            let is_length = (7..=15).contains(&length) && !judged.is_date();
            // Looked up once, since it reads the words before.
            let announced = is_length && *is_announced.get_or_insert_with(|| is_phone_announced(scan, at));
            announced.then_some(SensitivityKind::Phone)
        });
        if let Some(kind) = kind {
            return Some(span(at, last.end, kind));
        }
    }
    None
}

/// Groups that are judged as one number.
struct Number<'a> {
    scan: &'a Scan<'a>,
    list: &'a [Group],
    digits: &'a [u8],
    has_plus: bool,
}

impl Number<'_> {
    fn kind(&self) -> Option<SensitivityKind> {
        if self.is_social_security() {
            Some(SensitivityKind::NationalId)
        } else if self.is_ip_version_4() {
            Some(SensitivityKind::IpAddress)
        } else if self.is_card() {
            Some(SensitivityKind::CardNumber)
        } else if self.is_decimal() {
            None
        } else if self.is_international() || self.is_north_american() || self.is_national() {
            Some(SensitivityKind::Phone)
        } else {
            None
        }
    }

    fn length(&self, group: usize) -> usize {
        self.list.get(group).map_or(0, |group| group.end - group.start)
    }

    fn value(&self, group: usize) -> u32 {
        let Some(group) = self.list.get(group) else { return 0 };
        let digits = self.scan.slice(group.start, group.end);
        digits.iter().take(9).fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'))
    }

    /// Returns the separator between all groups, if it is one and the same; zero for a single group.
    fn separator(&self) -> Option<u8> {
        let mut separators = self.list.iter().skip(1).map(|group| group.before);
        let first = separators.next().unwrap_or(0);
        separators.all(|separator| separator == first).then_some(first)
    }

    fn has_lengths(&self, lengths: &[usize]) -> bool {
        self.list.len() == lengths.len()
            && lengths.iter().enumerate().all(|(index, length)| self.length(index) == *length)
    }

    /// Area 000, 666 and 900 to 999, group 00 and serial 0000 are never issued.
    fn is_social_security(&self) -> bool {
        let is_issued = !matches!(self.value(0), 0 | 666 | 900..) && self.value(1) != 0 && self.value(2) != 0;
        self.has_lengths(&[3, 2, 4]) && self.separator() == Some(b'-') && is_issued && !self.has_plus
    }

    fn is_ip_version_4(&self) -> bool {
        let is_part = |index: usize| {
            let is_padded = self.length(index) > 1 && self.digit(index) == Some(b'0');
            self.length(index) <= 3 && self.value(index) <= 255 && !is_padded
        };
        let is_dotted = self.list.len() == 4 && self.separator() == Some(b'.') && !self.has_plus;
        let is_special = matches!(self.value(0), 0 | 127 | 255);
        is_dotted && (0..4).all(is_part) && !is_special && !self.follows_version()
    }

    fn digit(&self, group: usize) -> Option<u8> {
        self.list.get(group).and_then(|group| self.scan.byte(group.start))
    }

    fn follows_version(&self) -> bool {
        let start = self.list.first().map_or(0, |group| group.start);
        let before = self.scan.slice(start.saturating_sub(8), start);
        before.to_ascii_lowercase().trim_ascii_end().ends_with(b"version")
    }

    fn is_card(&self) -> bool {
        let is_separated = matches!(self.separator(), Some(0 | b' ' | b'-'));
        let last = self.list.len() - 1;
        let is_grouped =
            last == 0 || (self.length(0) == 4 && (1..last).all(|group| (3..=6).contains(&self.length(group))));
        is_separated && is_grouped && !self.has_plus && account::is_card(self.digits)
    }

    /// `+47 22 33 44 55`, and `0047 22 33 44 55`.
    fn is_international(&self) -> bool {
        let is_grouped = (1..self.list.len()).all(|group| self.length(group) >= 2 || self.value(group) == 0);
        let digits = if self.has_plus {
            self.digits
        } else if self.list.len() > 1 {
            self.digits.strip_prefix(b"00").unwrap_or_default()
        } else {
            &[]
        };
        is_grouped
            && (8..=15).contains(&digits.len())
            && digits.first().is_some_and(|digit| *digit != b'0')
            && !self.is_date()
    }

    /// `(555) 123-4567`, `555-123-4567`, `1 555 123 4567`: area codes start with 2 to 9.
    fn is_north_american(&self) -> bool {
        let first = usize::from(self.has_lengths(&[1, 3, 3, 4]) && self.value(0) == 1);
        let has_form = first == 1 || self.has_lengths(&[3, 3, 4]);
        let is_separated = self.list.iter().all(|group| group.before != b'/');
        has_form && is_separated && !self.has_plus && self.digit(first).is_some_and(|digit| digit >= b'2')
    }

    /// `020 7946 0958`, `06 12 34 56 78`: the leading zero of a number within its country.
    fn is_national(&self) -> bool {
        let has_zero = self.digits.first() == Some(&b'0') && self.digits.get(1).is_some_and(|digit| *digit != b'0');
        let is_grouped = (2..=5).contains(&self.length(0)) && (1..self.list.len()).all(|group| self.length(group) >= 2);
        let is_separated = matches!(self.separator(), Some(b' ' | b'-' | b'/' | b'.')) && self.list.len() > 1;
        has_zero
            && is_grouped
            && is_separated
            && (9..=11).contains(&self.digits.len())
            && !self.has_plus
            && !self.is_date()
    }

    /// Returns whether it reads as a decimal number, as in `00.123456789`.
    fn is_decimal(&self) -> bool {
        self.list.len() == 2 && self.separator() == Some(b'.')
    }

    /// Returns whether the groups begin like a date: year first, or year third.
    fn is_date(&self) -> bool {
        let is_year = |group: usize| self.length(group) == 4 && (1900..2100).contains(&self.value(group));
        let is_small = |group: usize| (1..=2).contains(&self.length(group)) && (1..=31).contains(&self.value(group));
        (is_year(0) && is_small(1) && is_small(2)) || (is_small(0) && is_small(1) && is_year(2))
    }
}

/// Reads the groups of digits from a digit, `+` or `(`.
fn groups(scan: &Scan<'_>, at: usize) -> Option<Groups> {
    let has_plus = scan.byte(at) == Some(b'+');
    let mut groups = Groups { list: [Group::default(); GROUPS_MAX], count: 0, has_plus };
    let (mut start, mut before, mut is_open) = (at + usize::from(has_plus), 0, false);
    if scan.byte(start) == Some(b'(') {
        (start, before, is_open) = (start + 1, b'(', true);
    }
    for slot in &mut groups.list {
        let end = scan.end_of(start, DIGITS_MAX + 1, |byte| byte.is_ascii_digit());
        let goes_on = scan.byte(end).is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if end == start || goes_on {
            break;
        }
        *slot = Group { start, end, before };
        groups.count += 1;
        let closed = if is_open && scan.byte(end) == Some(b')') { end + 1 } else { end };
        if is_open && closed == end {
            // A bracket that does not close holds no area code.
            groups.count -= 1;
            break;
        }
        (start, before, is_open) = separator(scan, closed);
        if start == closed && closed == end {
            break;
        }
    }
    (groups.count > 0).then_some(groups)
}

/// Reads what may stand between two groups: where the next one starts, what is before it, and whether that is a bracket.
fn separator(scan: &Scan<'_>, at: usize) -> (usize, u8, bool) {
    let (next, mark) = match (scan.byte(at), scan.byte(at + 1)) {
        (Some(0xc2), Some(0xa0)) => (at + 2, b' '),
        (Some(mark @ (b' ' | b'-' | b'.' | b'/')), _) => (at + 1, mark),
        // After a bracket the next group may follow directly.
        _ => (at, b')'),
    };
    match scan.byte(next) {
        Some(b'(') => (next + 1, b'(', true),
        _ => (next, mark, false),
    }
}

/// Returns whether a number may start here: not inside a word, an amount, a path or a longer number.
fn is_free_before(scan: &Scan<'_>, at: usize) -> bool {
    match scan.byte_before(at) {
        Some(b'$' | b'#' | b'.' | b',' | b'/' | b'-' | b'@' | b'%' | b'&' | b'\\' | b'+') => false,
        // The seconds of `12:30:00.123` are no number of their own.
        Some(b':') => !at.checked_sub(2).and_then(|before| scan.byte(before)).is_some_and(|byte| byte.is_ascii_digit()),
        Some(byte) if byte >= 0x80 => {
            let letter = scan.text.get(..at).and_then(|text| text.chars().next_back());
            !letter.is_some_and(|letter| letter.is_alphanumeric() || matches!(letter, '€' | '£' | '¥'))
        }
        Some(_) => !scan.is_inside_word(at),
        None => true,
    }
}

/// Returns whether a number may end here: not before a letter, `%`, or another digit across a tight separator.
fn is_free_after(scan: &Scan<'_>, end: usize) -> bool {
    match scan.byte(end) {
        Some(b'-' | b'.' | b'/' | b':' | b',') => !scan.byte(end + 1).is_some_and(|byte| byte.is_ascii_digit()),
        Some(byte) => !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'%' | b'@')),
        None => true,
    }
}

/// Returns whether the words before announce a telephone number: `call me at`, `my phone is`.
fn is_phone_announced(scan: &Scan<'_>, at: usize) -> bool {
    const BYTES_LOOKED_AT: usize = 40;
    let from = scan.text.ceil_char_boundary(at.saturating_sub(BYTES_LOOKED_AT));
    let before = scan.text.get(from..at).unwrap_or_default();
    for word in before.rsplit(|letter: char| !letter.is_ascii_alphabetic()).filter(|word| !word.is_empty()) {
        match word.to_ascii_lowercase().as_str() {
            "phone" | "telephone" | "tel" | "mobile" | "cell" | "cellphone" | "call" | "fax" | "whatsapp" | "sms"
            | "text" | "dial" => return true,
            "me" | "us" | "him" | "her" | "them" | "at" | "on" | "is" | "number" | "no" | "nr" | "my" | "the"
            | "his" | "or" | "your" | "our" | "their" | "to" | "s" => {}
            _ => return false,
        }
    }
    false
}
