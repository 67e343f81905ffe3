//! Bank accounts and payment cards: check digits, country lengths, issuers.

use super::scan::{Scan, span};
use super::{SensitiveSpan, SensitivityKind};

/// Countries of the IBAN registry with the length of their numbers.
const IBAN_LENGTHS: &[u8] =
    b"AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18\
    FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21\
    LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24\
    SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30";

/// Reads an IBAN, with or without single spaces or dashes between its characters.
pub(super) fn iban(scan: &Scan<'_>, at: usize) -> Option<SensitiveSpan> {
    let country = scan.slice(at, at + 2);
    let has_check = scan.slice(at + 2, at + 4).iter().filter(|byte| byte.is_ascii_digit()).count() == 2;
    if !has_check || scan.is_inside_word(at) {
        return None;
    }
    let length = IBAN_LENGTHS.chunks_exact(4).find_map(|entry| match entry {
        [first, second, tens, ones] if [*first, *second] == *country => {
            Some(usize::from(tens - b'0') * 10 + usize::from(ones - b'0'))
        }
        _ => None,
    })?;
    let (mut characters, mut end) = ([0_u8; 34], at);
    for character in characters.get_mut(..length)? {
        if matches!(scan.byte(end), Some(b' ' | b'-')) {
            end += 1;
        }
        *character = scan.byte(end).filter(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())?;
        end += 1;
    }
    let goes_on = scan.byte(end).is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (!goes_on && is_mod_97(characters.get(..length)?)).then(|| span(at, end, SensitivityKind::Iban))
}

/// Checks an IBAN as ISO 13616 says: the first four characters moved to the end, letters as 10 to 35, modulo 97 is one.
fn is_mod_97(characters: &[u8]) -> bool {
    let Some((head, body)) = characters.split_at_checked(4) else { return false };
    let rest = body.iter().chain(head).fold(0_u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte.saturating_sub(b'A')) + 10) % 97,
    });
    rest == 1
}

/// Returns whether digits are the number of a payment card: an issuer's prefix, its length, and Luhn's check digit.
pub(super) fn is_card(digits: &[u8]) -> bool {
    let prefix = |length: usize| {
        digits.get(..length).unwrap_or_default().iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0'))
    };
    let lengths = match (prefix(2), prefix(3), prefix(4)) {
        // Visa
        (40..=49, _, _) => [13, 16, 19].as_slice(),
        // Mastercard
        (51..=55, _, _) | (_, _, 2221..=2720) => &[16],
        // American Express
        (34 | 37, _, _) => &[15],
        // Diners Club
        (36 | 38 | 39, _, _) | (_, 300..=305, _) => &[14, 16, 19],
        // JCB, Discover, UnionPay
        (_, _, 3528..=3589 | 6011) | (62 | 65, _, _) | (_, 644..=649, _) => &[16, 17, 18, 19],
        // Mir
        (_, _, 2200..=2204) => &[16, 17, 18, 19],
        // Maestro
        (_, _, 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763) => &[12, 13, 14, 15, 16, 17, 18, 19],
        _ => &[],
    };
    lengths.contains(&digits.len()) && is_luhn(digits)
}

/// Checks the last digit by ISO/IEC 7812: every second digit from the right doubled, the digits of all summed.
fn is_luhn(digits: &[u8]) -> bool {
    let sum = digits.iter().rev().enumerate().fold(0_u32, |sum, (index, digit)| {
        let value = u32::from(digit - b'0') * if index % 2 == 1 { 2 } else { 1 };
        sum + if value > 9 { value - 9 } else { value }
    });
    sum.is_multiple_of(10)
}
