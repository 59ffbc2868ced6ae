//! Checks of free text and contact details before they are sealed or stored, and
//! their normal forms for blind indexes. Refuses to know tables.

use std::borrow::Cow;

use operation::FieldError;

/// Longest description and reference, characters.
pub(crate) const NOTE_MAX_CHARS: usize = 140;
/// Longest name, characters.
const NAME_MAX_CHARS: usize = 200;
/// Longest e-mail address, bytes (RFC 5321, 4.5.3.1.3).
const EMAIL_MAX_BYTES: usize = 254;

/// What is wrong with one field.
pub(crate) fn fault(field: &'static str, code: &'static str, message: &str) -> FieldError {
    FieldError {
        field: Cow::Borrowed(field),
        code: Cow::Borrowed(code),
        message: message.to_owned(),
    }
}

/// A description or reference: at most 140 characters, none of them a control.
pub(crate) fn check_note(field: &'static str, text: &str) -> Result<(), FieldError> {
    if text.chars().count() > NOTE_MAX_CHARS {
        return Err(fault(field, "too_long", "At most 140 characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(fault(field, "invalid_characters", "Control characters are not allowed"));
    }
    Ok(())
}

/// A person's or company's name.
pub(crate) fn check_name(field: &'static str, text: &str) -> Result<(), FieldError> {
    if text.trim().is_empty() {
        return Err(fault(field, "required", "Must not be empty"));
    }
    if text.chars().count() > NAME_MAX_CHARS {
        return Err(fault(field, "too_long", "At most 200 characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(fault(field, "invalid_characters", "Control characters are not allowed"));
    }
    Ok(())
}

/// An e-mail address in form: one `@`, something before it, a dotted name behind.
pub(crate) fn check_email(field: &'static str, text: &str) -> Result<(), FieldError> {
    let well_formed = text.len() <= EMAIL_MAX_BYTES
        && !text.chars().any(|letter| letter.is_control() || letter.is_whitespace())
        && text.rsplit_once('@').is_some_and(|(local, domain)| {
            let labels = || domain.split('.');
            !local.is_empty()
                && !local.contains('@')
                && labels().count() > 1
                && labels().all(|label| !label.is_empty())
        });
    if well_formed { Ok(()) } else { Err(fault(field, "invalid_email", "Not an e-mail address")) }
}

/// A telephone number in E.164: `+`, then 7 to 15 digits, the first not zero.
pub(crate) fn check_phone(field: &'static str, text: &str) -> Result<(), FieldError> {
    let digits = text.strip_prefix('+').unwrap_or("");
    let well_formed = (7..=15).contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    if well_formed {
        Ok(())
    } else {
        Err(fault(
            field,
            "invalid_phone",
            "Not a telephone number in E.164 form, e.g. +442071838750",
        ))
    }
}

/// A tax number: 4 to 32 letters, digits and separators.
pub(crate) fn check_tax_id(field: &'static str, text: &str) -> Result<(), FieldError> {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'/' | b'.' | b' ');
    let well_formed = text.len() <= 32
        && text.bytes().all(allowed)
        && text.bytes().filter(u8::is_ascii_alphanumeric).count() >= 4;
    if well_formed { Ok(()) } else { Err(fault(field, "invalid_tax_id", "Not a tax number")) }
}

/// E-mail addresses are looked up without regard to case.
pub(crate) fn normal_email(text: &str) -> String {
    text.trim().to_lowercase()
}

/// Tax numbers are looked up without regard to case and separators.
pub(crate) fn normal_tax_id(text: &str) -> String {
    text.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_uppercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{
        check_email, check_name, check_note, check_phone, check_tax_id, normal_email, normal_tax_id,
    };

    #[test]
    fn contact_details_are_checked_for_their_form() {
        for (email, good) in [
            ("a@b.cz", true),
            ("Jana.Nová@banka.cz", true),
            ("a@b", false),
            ("@b.cz", false),
            ("a@@b.cz", false),
            ("a b@c.cz", false),
            ("a@b..cz", false),
            ("", false),
        ] {
            assert_eq!(check_email("email", email).is_ok(), good, "{email}");
        }
        for (phone, good) in [
            ("+420601123456", true),
            ("420601123456", false),
            ("+0420601123", false),
            ("+42", false),
            ("+4206011234567890", false),
            ("+42060112345a", false),
        ] {
            assert_eq!(check_phone("phone", phone).is_ok(), good, "{phone}");
        }
        for (tax_id, good) in
            [("CZ699001182", true), ("706213/0011", true), ("1-2", false), ("č1234", false)]
        {
            assert_eq!(check_tax_id("tax_id", tax_id).is_ok(), good, "{tax_id}");
        }
    }

    #[test]
    fn texts_are_bounded_and_free_of_controls() {
        assert!(check_note("description", &"ř".repeat(140)).is_ok());
        assert!(check_note("description", &"a".repeat(141)).is_err());
        assert!(check_note("description", "a\0b").is_err());
        assert!(check_note("description", "").is_ok());
        assert!(check_name("first_name", "  ").is_err());
        assert!(check_name("first_name", &"a".repeat(201)).is_err());
    }

    #[test]
    fn normal_forms_meet() {
        assert_eq!(normal_email(" Jana@Banka.CZ "), normal_email("jana@banka.cz"));
        assert_eq!(normal_tax_id("cz 699-001-182"), "CZ699001182");
    }
}
