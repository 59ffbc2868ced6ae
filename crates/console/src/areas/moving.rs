//! What pages that move money share: reading numbers and amounts that people typed.
//!
//! Refuses to decide anything about money: it only turns text into what commands take.

use banking::{
    Account, AccountFilter, AccountList, AccountView, ReadCustomer, payee::Payee,
    payee::PayeeByNumber,
};
use jiff::civil::Date;
use money::{AccountNumber, Currency};
use operation::PageRequest;
use uuid::Uuid;

use crate::{fault::Fault, form::Form, kit, params::Params, visitor::Visitor};

/// Of descriptions and references.
const LETTERS_MAX: usize = 140;

/// Whether the person chooses among accounts of their own, rather than typing numbers.
pub(crate) fn chooses(visitor: &Visitor) -> bool {
    let permission = access::Permission::AccountRead;
    !visitor.console.operations.scope(visitor.context(), permission).is_all()
}

/// A number as it is stored: people group digits as they please.
pub(crate) fn number_of(text: &str) -> String {
    let kept = text.chars().filter(|letter| !letter.is_whitespace() && *letter != '-');
    kept.flat_map(char::to_uppercase).collect()
}

/// Why a number names nothing that the person can use, in words that help.
pub(crate) fn unknown_number(text: &str) -> (&'static str, String) {
    let number = number_of(text);
    let digits = number.len() == 12 && number.bytes().all(|byte| byte.is_ascii_digit());
    if digits && number.parse::<AccountNumber>().is_err() {
        let message = "The last two digits check the others, and they do not fit: a digit is wrong or two are swapped";
        return ("check_digits", message.to_owned());
    }
    ("not_found", "No account with this number that you can use here".to_owned())
}

/// An account that the person may read, by its id or its number.
pub(crate) async fn readable(visitor: &Visitor, text: &str) -> Result<Option<Account>, Fault> {
    if let Ok(account_id) = text.parse::<Uuid>() {
        return match visitor.read(&AccountView { account_id }).await {
            Ok(account) => Ok(Some(account)),
            Err(fault) if fault.status == http::StatusCode::NOT_FOUND => Ok(None),
            Err(fault) => Err(fault),
        };
    }
    let filter =
        AccountFilter { account_number: Some(number_of(text)), ..AccountFilter::default() };
    let page = PageRequest { limit: 1, after: None, ..PageRequest::default() };
    Ok(visitor.read(&AccountList { filter, page }).await?.data.pop())
}

/// The account that a number names, to be paid.
pub(crate) async fn payee(visitor: &Visitor, text: &str) -> Result<Option<Payee>, Fault> {
    visitor.read(&PayeeByNumber { account_number: number_of(text) }).await
}

/// The amount in a field, or the form with what is wrong with it.
pub(crate) fn amount(form: Form, params: &Params, currency: Currency) -> (Form, Option<i64>) {
    let text: String =
        params.text("amount").chars().filter(|letter| !letter.is_whitespace()).collect();
    if text.is_empty() {
        return (form.fault("amount", "required", "Enter an amount"), None);
    }
    let example = currency.format_minor(123_450);
    match currency.parse_minor(&text) {
        Ok(minor) if minor > 0 => (form, Some(minor)),
        Ok(_) => {
            (form.fault("amount", "invalid_amount", "The amount must be more than zero"), None)
        }
        Err(money::AmountError::OutOfRange) => {
            (form.fault("amount", "amount_too_large", "The amount is too large"), None)
        }
        Err(money::AmountError::TooPrecise { exponent, .. }) => {
            let message = format!(
                "{} has {exponent} decimal places: write it like {example}",
                currency.code()
            );
            (form.fault("amount", "invalid_value", message), None)
        }
        Err(money::AmountError::NotANumber(_)) => {
            let message = format!("Write the amount like {example}, with a point and no commas");
            (form.fault("amount", "invalid_value", message), None)
        }
    }
}

/// The day in a field; an empty one is none.
pub(crate) fn day(form: Form, params: &Params, name: &'static str) -> (Form, Option<Date>) {
    let Some(text) = params.get(name) else { return (form, None) };
    match text.parse() {
        Ok(day) => (form, Some(day)),
        Err(_) => (form.fault(name, "invalid_value", "Write the date like 2026-03-31"), None),
    }
}

/// Description and reference are short.
pub(crate) fn texts(mut form: Form, params: &Params) -> Form {
    for name in ["description", "reference"] {
        if params.text(name).chars().count() > LETTERS_MAX {
            form = form.fault(name, "too_long", format!("At most {LETTERS_MAX} characters"));
        }
    }
    form
}

/// The owner's name, for those who may read every customer; the look is recorded.
pub(crate) async fn owner(visitor: &Visitor, account: Uuid) -> Result<Option<String>, Fault> {
    let permission = access::Permission::CustomerRead;
    if !visitor.console.operations.scope(visitor.context(), permission).is_all() {
        return Ok(None);
    }
    let account = match visitor.read(&AccountView { account_id: account }).await {
        Ok(account) => account,
        Err(fault) if fault.status == http::StatusCode::NOT_FOUND => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let keyring = std::sync::Arc::clone(&visitor.console.keyring);
    let customer = visitor.open(ReadCustomer { keyring, customer_id: account.customer_id }).await?;
    Ok(Some(kit::customer_name(&customer.personal)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{amount, number_of, unknown_number};
    use crate::{form::Form, params::Params};

    #[test]
    fn numbers_are_read_as_people_group_them() {
        assert_eq!(number_of(" 1234 5678-9012\u{a0}"), "123456789012");
        assert_eq!(number_of("ab12"), "AB12");
        let good = money::AccountNumber::from_body(1_234_567_890).to_string();
        assert_eq!(unknown_number(&good).0, "not_found");
        let last = if good.ends_with('0') { '1' } else { '0' };
        let wrong = format!("{}{last}", &good[..11]);
        assert_eq!(unknown_number(&wrong).0, "check_digits");
        assert_eq!(unknown_number("LEGACY1").0, "not_found");
    }

    #[test]
    fn amounts_are_read_exactly_or_refused_in_words() {
        let table = [
            ("12.50", Some(1_250)),
            ("1+234.50", Some(123_450)),
            ("0", None),
            ("-5", None),
            ("12%2C50", None),
            ("12.505", None),
            ("", None),
            ("1e9", None),
            ("99999999999999999999", None),
        ];
        for (text, minor) in table {
            let params = Params::parse(format!("amount={text}").as_bytes()).unwrap();
            let (form, read) = amount(Form::new(&params), &params, "EUR".parse().unwrap());
            assert_eq!(read, minor, "{text}");
            assert_eq!(form.error("amount").is_some(), minor.is_none(), "{text}");
        }
    }
}
