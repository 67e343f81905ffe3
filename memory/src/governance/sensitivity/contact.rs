//! E-mail addresses, passwords in URLs, and addresses of machines.

use std::net::Ipv6Addr;

use super::scan::{Scan, span};
use super::{SensitiveSpan, SensitivityKind};

/// The longest local part and the longest domain of an address, from RFC 5321.
const LOCAL_BYTES_MAX: usize = 64;
const DOMAIN_BYTES_MAX: usize = 255;
/// How much of a URL before its `@` is looked at.
const CREDENTIALS_BYTES_MAX: usize = 256;

/// Reads an e-mail address around an `@`, or the password of `scheme://user:password@host`.
pub(super) fn email(scan: &Scan<'_>, at: usize) -> Option<SensitiveSpan> {
    if let Some(found) = url_password(scan, at) {
        return Some(found);
    }
    let before = scan.text.get(scan.taken..at)?;
    let is_local = |letter: &char| letter.is_alphanumeric() || matches!(letter, '.' | '_' | '%' | '+' | '-' | '\'');
    let mut length = 0;
    for letter in before.chars().rev().take_while(is_local) {
        length += letter.len_utf8();
        if length > LOCAL_BYTES_MAX {
            return None;
        }
    }
    let local = before.get(before.len() - length..)?.trim_start_matches(['.', '\'', '-', '%', '+']);
    let start = at - local.len();
    // `@user@host` is a handle, and `git@host` is where a repository is.
    if local.is_empty() || local.ends_with('.') || local == "git" || scan.byte_before(start) == Some(b'@') {
        return None;
    }
    let end = domain_end(scan, at + 1)?;
    Some(span(start, end, SensitivityKind::Email))
}

/// Returns the end of a domain with at least two labels, the last of letters only.
fn domain_end(scan: &Scan<'_>, at: usize) -> Option<usize> {
    let mut length = 0;
    let is_domain = |letter: &char| letter.is_alphanumeric() || matches!(letter, '.' | '-');
    for letter in scan.text.get(at..)?.chars().take_while(is_domain) {
        length += letter.len_utf8();
        if length > DOMAIN_BYTES_MAX {
            return None;
        }
    }
    let domain = scan.text.get(at..at + length)?.trim_end_matches(['.', '-']);
    let (labels, last) = domain.rsplit_once('.')?;
    let is_name = last.chars().count() >= 2 && (last.chars().all(char::is_alphabetic) || last.starts_with("xn--"));
    let is_image = ["png", "jpg", "jpeg", "gif", "svg", "webp"].contains(&last);
    let has_labels = labels.split('.').all(|label| !label.is_empty() && !label.starts_with('-'));
    (is_name && !is_image && has_labels).then_some(at + domain.len())
}

/// Reads the password between `://user:` and the `@`.
fn url_password(scan: &Scan<'_>, at: usize) -> Option<SensitiveSpan> {
    let from = scan.taken.max(at.saturating_sub(CREDENTIALS_BYTES_MAX));
    let before = scan.slice(from, at);
    let start = before.iter().rposition(|byte| byte.is_ascii_whitespace() || *byte == b'/' || *byte >= 0x80)? + 1;
    let is_url = before.get(..start)?.ends_with(b"://");
    let password = from + start + before.get(start..)?.iter().position(|byte| *byte == b':')? + 1;
    (is_url && password < at).then(|| span(password, at, SensitivityKind::Secret))
}

/// Reads an address of version 6 that starts with up to four hexadecimal digits and a colon.
pub(super) fn ip_version_6(scan: &Scan<'_>, at: usize) -> Option<SensitiveSpan> {
    const TEXT_BYTES_MAX: usize = 39;
    let end = scan.end_of(at, TEXT_BYTES_MAX + 1, |byte| byte.is_ascii_hexdigit() || byte == b':');
    let written = scan.text.get(at..end)?.trim_end_matches(':');
    // Three colons at least, so that neither a time nor `a::b` is one.
    if written.len() > TEXT_BYTES_MAX
        || written.bytes().filter(|byte| *byte == b':').count() < 3
        || scan.is_inside_word(at)
    {
        return None;
    }
    let goes_on = scan.byte(at + written.len()).is_some_and(|byte| byte.is_ascii_alphanumeric());
    let address: Ipv6Addr = written.parse().ok()?;
    (!goes_on && !address.is_loopback() && !address.is_unspecified())
        .then(|| span(at, at + written.len(), SensitivityKind::IpAddress))
}
