//! One-time passwords by time (RFC 6238 over RFC 4226): SHA-1, six digits, the tenant's
//! time step, one step of tolerance either way.
//!
//! Owns the arithmetic and the `otpauth` address. Refuses to know storage: that a step is
//! accepted once is the database's conditional UPDATE.

use vault::{constant_time_eq, hmac_sha1, random_bytes};
use zeroize::Zeroizing;

/// RFC 4226 section 4 asks for 16 bytes and recommends 20, the length of SHA-1's output.
const SECRET_BYTES: usize = 20;
const DIGITS: usize = 6;
const MODULUS: u32 = 1_000_000;
/// Steps that a clock may be off, either way.
const TOLERANCE: i64 = 1;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A shared secret, in base 32 as authenticator apps take it.
pub(crate) fn new_secret() -> Zeroizing<String> {
    Zeroizing::new(base32(Zeroizing::new(random_bytes::<SECRET_BYTES>()).as_slice()))
}

/// The step whose code this is, if it is one of those acceptable now. Every acceptable
/// step is computed and compared, whichever fits.
pub(crate) fn matching_step(secret: &str, code: &str, (now_s, step_s): (i64, i64)) -> Option<i64> {
    let secret = from_base32(secret)?;
    let current = now_s.div_euclid(step_s.max(1));
    let mut found = None;
    for step in current - TOLERANCE..=current + TOLERANCE {
        let due = code_at(&secret, step);
        if constant_time_eq(due.as_bytes(), code.as_bytes()) {
            found = Some(step);
        }
    }
    found
}

/// What a QR code carries to the app (the Key URI format of Google Authenticator, which
/// is what the others follow).
pub(crate) fn uri(issuer: &str, account: &str, secret: &str, step_s: u32) -> Zeroizing<String> {
    let (issuer, account) = (percent(issuer), percent(account));
    Zeroizing::new(format!(
        "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}&algorithm=SHA1\
         &digits={DIGITS}&period={step_s}"
    ))
}

/// HOTP (RFC 4226 section 5.3) of a step.
fn code_at(secret: &[u8], step: i64) -> String {
    let mac = hmac_sha1(secret, &step.to_be_bytes());
    let offset = usize::from(mac[19] & 0x0f);
    let word = mac.get(offset..offset + 4).unwrap_or_default();
    let truncated = word.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
    format!("{:0DIGITS$}", (truncated & 0x7fff_ffff) % MODULUS)
}

fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(letter(buffer >> bits));
        }
    }
    if bits > 0 {
        text.push(letter(buffer << (5 - bits)));
    }
    text
}

fn letter(value: u32) -> char {
    char::from(BASE32[usize::try_from(value & 31).unwrap_or(0)])
}

fn from_base32(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() * 5 / 8));
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for byte in text.bytes() {
        let value = BASE32.iter().position(|letter| *letter == byte)?;
        buffer = (buffer << 5) | u32::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((buffer >> bits) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

/// Percent-encoding of everything that is not unreserved (RFC 3986 section 2.3).
fn percent(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(HEX[usize::from(byte >> 4)]));
            encoded.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{base32, code_at, from_base32, matching_step, new_secret, uri};

    /// The secret of the RFCs' test values.
    const RFC_SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn counters_give_the_codes_of_rfc_4226() {
        let codes = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583",
            "399871", "520489",
        ];
        for (step, code) in codes.into_iter().enumerate() {
            assert_eq!(code_at(RFC_SECRET, i64::try_from(step).unwrap()), code, "step {step}");
        }
    }

    #[test]
    fn times_give_the_codes_of_rfc_6238() {
        // Unix time, the last six of the RFC's eight digits
        let table = [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ];
        let secret = base32(RFC_SECRET);
        for (now_s, code) in table {
            assert_eq!(matching_step(&secret, code, (now_s, 30)), Some(now_s / 30), "{now_s}");
        }
    }

    #[test]
    fn one_step_either_way_is_accepted_and_two_are_not() {
        let secret = base32(RFC_SECRET);
        let (now_s, step_s) = (1_234_567_890, 30);
        for (away, accepted) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let step = now_s / step_s + away;
            let code = code_at(RFC_SECRET, step);
            let found = matching_step(&secret, &code, (now_s, step_s));
            assert_eq!(found, accepted.then_some(step), "{away} steps away");
        }
        for malformed in ["", "05924", "0005924", "00592a", " 005924", "００５９２４"] {
            assert_eq!(matching_step(&secret, malformed, (now_s, step_s)), None, "{malformed:?}");
        }
    }

    #[test]
    fn base_32_is_that_of_rfc_4648() {
        let table =
            [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")];
        for (plain, encoded) in table {
            assert_eq!(base32(plain.as_bytes()), encoded);
            assert_eq!(from_base32(encoded).unwrap().as_slice(), plain.as_bytes());
        }
        assert!(from_base32("M1").is_none());
        let secret = new_secret();
        assert_eq!((secret.len(), from_base32(&secret).unwrap().len()), (32, 20));
        assert_ne!(*secret, *new_secret());
    }

    #[test]
    fn an_address_escapes_what_people_name_things() {
        let address = uri("Česká & Co", "jana:n@x", "MZXW6", 30);
        assert_eq!(
            *address,
            "otpauth://totp/%C4%8Cesk%C3%A1%20%26%20Co:jana%3An%40x?secret=MZXW6\
             &issuer=%C4%8Cesk%C3%A1%20%26%20Co&algorithm=SHA1&digits=6&period=30"
        );
    }
}
