//! The forms of names and addresses.

use super::model::{is_email, is_phone, is_username};

type Form = (fn(&str) -> bool, &'static [&'static str], &'static [&'static str]);

#[test]
fn names_and_addresses_have_a_form() {
    let table: &[Form] = &[
        (is_username, &["alice", "A.b-c_9", "0"], &["", ".alice", "al ice", "älice", "a@b"]),
        (
            is_email,
            &["a@b.cz", "first.last+tag@sub.example.org"],
            &["", "a@b", "a b@c.de", "a..b@c.de", "a@-c.de", "@c.de"],
        ),
        (
            is_phone,
            &["+420123456789", "+12025550123"],
            &["", "420123456789", "+0123456789", "+12", "+1234567890123456"],
        ),
    ];
    for (test, good, bad) in table {
        for value in *good {
            assert!(test(value), "{value:?} is fine");
        }
        for value in *bad {
            assert!(!test(value), "{value:?} is not");
        }
    }
}
