//! Texts with sensitive content, and what is found in them.

use super::{Seeded, check, found};
use crate::governance::sensitivity::find_sensitive;

#[test]
fn addresses_and_numbers_are_found() {
    for (text, expect) in [
        ("Write to bo@example.com.", "email:bo@example.com"),
        ("<bo.smith+news@mail.example.co.uk>", "email:bo.smith+news@mail.example.co.uk"),
        ("mailto:bo_1@example.org?subject=x", "email:bo_1@example.org"),
        ("(bo@example.com)", "email:bo@example.com"),
        ("jörg@example.com and anna@münchen.de", "email:jörg@example.com | email:anna@münchen.de"),
        ("a@example.com,b@example.com", "email:a@example.com | email:b@example.com"),
        ("o'neil@example.ie", "email:o'neil@example.ie"),
        ("Call +47 22 33 44 55 today", "phone:+47 22 33 44 55"),
        ("+4722334455", "phone:+4722334455"),
        ("+1 (555) 123-4567", "phone:+1 (555) 123-4567"),
        ("+44 (0)20 7946 0958", "phone:+44 (0)20 7946 0958"),
        ("+1-555-123-4567", "phone:+1-555-123-4567"),
        ("tel:+49.30.123456", "phone:+49.30.123456"),
        ("0047 22 33 44 55", "phone:0047 22 33 44 55"),
        ("(555) 123-4567", "phone:(555) 123-4567"),
        ("(555)123-4567", "phone:(555)123-4567"),
        ("my number (555-123-4567)", "phone:555-123-4567"),
        ("555-123-4567", "phone:555-123-4567"),
        ("555.123.4567.", "phone:555.123.4567"),
        ("555 123 4567, thanks", "phone:555 123 4567"),
        ("1-555-123-4567", "phone:1-555-123-4567"),
        ("1 (555) 123-4567", "phone:1 (555) 123-4567"),
        ("call me at 555-1234", "phone:555-1234"),
        ("my phone number is 5551234567", "phone:5551234567"),
        ("Mobile: 22 33 44 55", "phone:22 33 44 55"),
        ("020 7946 0958", "phone:020 7946 0958"),
        ("06 12 34 56 78", "phone:06 12 34 56 78"),
        ("06\u{a0}12\u{a0}34\u{a0}56\u{a0}78", "phone:06\u{a0}12\u{a0}34\u{a0}56\u{a0}78"),
        ("0171/1234567", "phone:0171/1234567"),
        ("Card 4111 1111 1111 1111 exp 12/25", "card_number:4111 1111 1111 1111"),
        ("4111111111111111", "card_number:4111111111111111"),
        ("4111-1111-1111-1111", "card_number:4111-1111-1111-1111"),
        ("5555 5555 5555 4444", "card_number:5555 5555 5555 4444"),
        ("2223 0031 2200 3222", "card_number:2223 0031 2200 3222"),
        ("3782 822463 10005", "card_number:3782 822463 10005"),
        ("6011111111111117", "card_number:6011111111111117"),
        ("3056 9309 0259 04", "card_number:3056 9309 0259 04"),
        ("3530111333300000", "card_number:3530111333300000"),
        ("4222222222222", "card_number:4222222222222"),
        ("IBAN DE89 3704 0044 0532 0130 00", "iban:DE89 3704 0044 0532 0130 00"),
        ("DE89370400440532013000", "iban:DE89370400440532013000"),
        ("NO93 8601 1117 947.", "iban:NO93 8601 1117 947"),
        ("GB29 NWBK 6016 1331 9268 19", "iban:GB29 NWBK 6016 1331 9268 19"),
        ("FR14 2004 1010 0505 0001 3M02 606", "iban:FR14 2004 1010 0505 0001 3M02 606"),
        ("My SSN is 536-22-8726", "national_id:536-22-8726"),
        ("from 93.184.216.34 today", "ip_address:93.184.216.34"),
        ("10.0.0.1:8080", "ip_address:10.0.0.1"),
        ("2001:db8:85a3::8a2e:370:7334", "ip_address:2001:db8:85a3::8a2e:370:7334"),
        ("fe80:0:0:0:202:b3ff:fe1e:8329", "ip_address:fe80:0:0:0:202:b3ff:fe1e:8329"),
        (
            "bo@example.com, (555) 123-4567, 93.184.216.34",
            "email:bo@example.com | phone:(555) 123-4567 | ip_address:93.184.216.34",
        ),
    ] {
        check(text, expect);
    }
}

#[test]
fn stated_secrets_are_found() {
    for (before, value, after) in [
        ("my password is ", "hunter2", "."),
        ("the Password: ", "correcthorse", ""),
        ("password=", "letmein99", " ok"),
        ("password for the router is ", "Blue!Fish", ", ok"),
        ("passphrase is \"", "four plain small words", "\""),
        ("{\"password\": \"", "s3cr3t words", "\"}"),
        ("DB_PASSWORD=", "qwerty-77", "\nHOST=a"),
        ("export API_KEY='", "zxcv1234", "'"),
        ("api key: ", "abcd1234efgh", ""),
        ("access_token => ", "abcd1234efgh", ""),
        ("client-secret = ", "abcd1234efgh", ""),
        ("the PIN is ", "4821", "."),
        ("PIN: ", "482193", ""),
        ("my passwd was ", "Tr0ub4dor", ""),
        ("password is now ", "abc12345", ""),
        ("postgres://ada:", "letmein", "@db.example.com/main"),
    ] {
        check(&format!("{before}{value}{after}"), &format!("secret:{value}"));
    }
}

/// Makes characters that look random but are the same each time.
fn characters(alphabet: &str, length: usize) -> String {
    let letters: Vec<char> = alphabet.chars().collect();
    let mut seeded = Seeded(length as u64);
    (0..length).map(|_| letters[seeded.below(letters.len())]).collect()
}

#[test]
fn keys_of_known_shapes_are_found() {
    const SMALL: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
    const MIXED: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    const CAPITALS: &str = "ABCDEFGHIJ0123456789KLMNOPQRSTUV";
    let header = ["eyJ", &characters(MIXED, 33)].concat();
    for secret in [
        ["AK", "IA", &characters(CAPITALS, 16)].concat(),
        ["AI", "za", &characters(MIXED, 35)].concat(),
        ["gh", "p_", &characters(MIXED, 36)].concat(),
        ["github", "_pat_", &characters(MIXED, 60)].concat(),
        ["gl", "pat-", &characters(MIXED, 20)].concat(),
        ["xo", "xb-", "123456789012-", &characters(MIXED, 24)].concat(),
        ["s", "k-", &characters(SMALL, 48)].concat(),
        ["s", "k-proj-", &characters(MIXED, 48)].concat(),
        ["sk", "_live_", &characters(MIXED, 24)].concat(),
        ["h", "f_", &characters(MIXED, 34)].concat(),
        ["np", "m_", &characters(MIXED, 36)].concat(),
        [header.as_str(), &characters(MIXED, 40), &characters(MIXED, 43)].join("."),
        characters(MIXED, 24),
        characters(MIXED, 40),
        [&characters(MIXED, 43), "="].concat(),
        [&characters(MIXED, 20), "/", &characters(MIXED, 19)].concat(),
    ] {
        for (before, after) in
            [("", ""), ("key ", ", please"), ("KEY=", "\n"), ("(", ")"), ("use `", "`."), ("\"", "\"")]
        {
            let text = format!("{before}{secret}{after}");
            assert_eq!(found(&text), format!("secret:{secret}"), "in `{text}`");
        }
    }
    let token = characters(SMALL, 30);
    check(&format!("Authorization: Bearer {token}"), &format!("secret:{token}"));
}

#[test]
fn private_keys_are_found_whole() {
    for name in ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "] {
        let block =
            ["-----BEGIN ", name, "PRIV", "ATE KEY-----\nabc\ndef=\n-----END ", name, "PRIV", "ATE KEY-----"].concat();
        check(&format!("here: {block}\nthanks"), &format!("secret:{block}"));
    }
    // Without its last line it ends with the text: better too much than half a key.
    let cut = ["-----BEGIN ", "PRIV", "ATE KEY-----\nabc\nbo@example.com"].concat();
    check(&cut, &format!("secret:{cut}"));
    assert_eq!(find_sensitive("-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----"), []);
}
