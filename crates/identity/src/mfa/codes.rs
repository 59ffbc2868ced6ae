//! Codes that we make: backup codes, and those that are sent.
//!
//! Both are stored as a MAC under the tenant's key and never as they are. Refuses to
//! know who may use one.

use tenancy::keyring::TenantKeys;
use uuid::Uuid;
use vault::random_bytes;
use zeroize::Zeroizing;

/// Codes in a set.
pub(crate) const BACKUP_CODES: usize = 10;
/// Letters of a backup code: 50 random bits.
const BACKUP_LETTERS: usize = 10;
/// Crockford's base 32: no letter is another's lookalike.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const BACKUP_DOMAIN: &str = "mfa-backup-code";
const SENT_DOMAIN: &str = "mfa-sent-code";

/// A set of backup codes as they are shown: `XXXXX-XXXXX`.
pub(crate) fn new_backup_codes() -> Vec<Zeroizing<String>> {
    (0..BACKUP_CODES)
        .map(|_| {
            let mut code = Zeroizing::new(String::with_capacity(BACKUP_LETTERS + 1));
            for (position, byte) in random_bytes::<BACKUP_LETTERS>().into_iter().enumerate() {
                if position == BACKUP_LETTERS / 2 {
                    code.push('-');
                }
                code.push(char::from(ALPHABET[usize::from(byte % 32)]));
            }
            code
        })
        .collect()
}

/// What is stored of a backup code; none where it can be none. As typed: case, blanks and
/// hyphens do not count, nor does O for 0 or I and L for 1.
pub(crate) fn backup_hash(keys: &TenantKeys, user: Uuid, typed: &str) -> Option<[u8; 32]> {
    let code = normal_backup_code(typed)?;
    let message = [user.as_bytes().as_slice(), code.as_bytes()].concat();
    Some(keys.session().sign(BACKUP_DOMAIN, &Zeroizing::new(message)))
}

fn normal_backup_code(typed: &str) -> Option<Zeroizing<String>> {
    let letters = typed.chars().filter(|letter| !matches!(letter, '-' | ' ')).map(|letter| {
        match letter.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        }
    });
    let mut code = Zeroizing::new(String::with_capacity(BACKUP_LETTERS));
    for letter in letters.take(BACKUP_LETTERS + 1) {
        if !u8::try_from(letter).is_ok_and(|byte| ALPHABET.contains(&byte)) {
            return None;
        }
        code.push(letter);
    }
    (code.len() == BACKUP_LETTERS).then_some(code)
}

/// Six random digits.
pub(crate) fn new_sent_code() -> Zeroizing<String> {
    // 2^64 is no multiple of a million; the bias is one in 10^13.
    let number = u64::from_be_bytes(random_bytes::<8>()) % 1_000_000;
    Zeroizing::new(format!("{number:06}"))
}

/// What is stored of a code that was sent for one challenge.
pub(crate) fn sent_hash(keys: &TenantKeys, challenge: Uuid, typed: &str) -> [u8; 32] {
    let message = [challenge.as_bytes().as_slice(), typed.trim().as_bytes()].concat();
    keys.session().sign(SENT_DOMAIN, &Zeroizing::new(message))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashSet;

    use super::{new_backup_codes, new_sent_code, normal_backup_code};

    #[test]
    fn a_set_has_ten_different_codes_of_fifty_bits() {
        let codes = new_backup_codes();
        let distinct: HashSet<String> = codes.iter().map(|code| code.to_string()).collect();
        assert_eq!((codes.len(), distinct.len()), (10, 10));
        for code in &codes {
            assert_eq!((code.len(), &code[5..6]), (11, "-"), "{}", code.as_str());
            assert_eq!(normal_backup_code(code).unwrap().len(), 10);
        }
    }

    #[test]
    fn a_backup_code_is_read_as_people_type_it() {
        let table = [
            ("ABCDE-FGHJK", Some("ABCDEFGHJK")),
            (" abcde fghjk ", Some("ABCDEFGHJK")),
            ("oilab-cdefg", Some("011ABCDEFG")),
            ("ABCDE-FGHJ", None),
            ("ABCDE-FGHJKM", None),
            ("ABCDE-FGHJU", None),
            ("ABCDE-FGH\u{0}K", None),
            ("", None),
        ];
        for (typed, code) in table {
            let normal = normal_backup_code(typed);
            assert_eq!(normal.as_ref().map(|code| code.as_str()), code, "{typed:?}");
        }
        assert!(normal_backup_code(&"A".repeat(1_000_000)).is_none());
    }

    #[test]
    fn sent_codes_are_six_digits() {
        for _ in 0..100 {
            let code = new_sent_code();
            assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()));
        }
    }
}
