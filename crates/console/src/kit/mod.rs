//! The small parts of every page: money, dates, names, badges, icons, charts.
//!
//! Each returns [`Markup`], which templates draw as it is: everything that came from
//! outside is escaped here. Refuses inline styles; looks are classes.

mod chart;
#[cfg(test)]
pub(crate) mod gallery;
mod icon;

use std::{borrow::Borrow, fmt};

use banking::PersonalData;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use money::Currency;

#[allow(unused_imports, reason = "the kit is for pages to come as well")]
pub(crate) use chart::{Point, bars, line, sparkline};
pub(crate) use icon::icon;

/// HTML that is drawn as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Markup(String);

impl Markup {
    /// HTML that the caller made and escaped (`escaped`): instead of `|safe` in templates.
    pub(crate) fn made(html: String) -> Self {
        Self(html)
    }

    /// The text; tests and charts look at it.
    #[cfg(test)]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Markup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl askama::FastWritable for Markup {
    fn write_into(
        &self,
        target: &mut dyn fmt::Write,
        _: &dyn askama::Values,
    ) -> askama::Result<()> {
        Ok(target.write_str(&self.0)?)
    }
}

impl askama::filters::HtmlSafe for Markup {}

/// Text as HTML shows it, in content and in quoted attributes.
pub(crate) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            // Marks that reorder what follows: a name must not rewrite its neighbours.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => {
                html.push('\u{fffd}');
            }
            letter if letter.is_control() => html.push(' '),
            letter => html.push(letter),
        }
    }
    html
}

/// A text somebody else wrote where no element can keep it apart (a title): without the
/// marks that reorder what follows.
pub(crate) fn plain(text: &str) -> String {
    let marks = ['\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}', '\u{200e}'..='\u{200f}'];
    let is_mark = |letter: char| marks.iter().any(|range| range.contains(&letter));
    text.chars().map(|letter| if is_mark(letter) { '\u{fffd}' } else { letter }).collect()
}

/// A text somebody else wrote, kept apart from its neighbours' direction.
pub(crate) fn name(text: &str) -> Markup {
    Markup(format!("<bdi>{}</bdi>", escaped(text)))
}

/// How a customer is called.
pub(crate) fn customer_name(personal: &PersonalData) -> String {
    if let Some(company) = &personal.company_name {
        return company.clone();
    }
    let parts = [personal.first_name.as_deref(), personal.last_name.as_deref()];
    let whole = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    if whole.is_empty() { "Unnamed".to_owned() } else { whole }
}

/// An amount as people read it: `−1,234.50`; minor units in, no unit out.
pub(crate) fn amount_text(minor: i64, currency: Currency) -> String {
    let exponent = usize::try_from(currency.exponent()).unwrap_or(2);
    let digits = format!("{:0>width$}", minor.unsigned_abs(), width = exponent + 1);
    let (whole, part) = digits.split_at(digits.len() - exponent);
    let mut text = String::new();
    if minor < 0 {
        text.push('\u{2212}');
    }
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if !part.is_empty() {
        text.push('.');
        text.push_str(part);
    }
    text
}

/// An amount with its currency, in figures of one width.
pub(crate) fn money(minor: impl Borrow<i64>, currency: impl Borrow<Currency>) -> Markup {
    let (minor, currency) = (*minor.borrow(), *currency.borrow());
    let class = if minor < 0 { "money money--negative" } else { "money" };
    let (amount, code) = (amount_text(minor, currency), currency.code());
    Markup(format!(
        "<data class=\"{class}\" value=\"{minor}\">{amount}\u{a0}<span class=\"money-unit\">{code}</span></data>"
    ))
}

/// A movement: what comes in carries a plus and a colour, what goes out a minus.
pub(crate) fn movement(minor: impl Borrow<i64>, currency: impl Borrow<Currency>) -> Markup {
    let (minor, currency) = (*minor.borrow(), *currency.borrow());
    let (class, sign) = if minor > 0 { ("money money--in", "+") } else { ("money", "") };
    let (amount, code) = (amount_text(minor, currency), currency.code());
    Markup(format!(
        "<data class=\"{class}\" value=\"{minor}\">{sign}{amount}\u{a0}<span class=\"money-unit\">{code}</span></data>"
    ))
}

/// An account's number in groups of four for the eye; selected and copied without gaps.
pub(crate) fn account_number(number: &str) -> Markup {
    let letters: Vec<char> = number.chars().collect();
    let group =
        |four: &[char]| format!("<span>{}</span>", escaped(&four.iter().collect::<String>()));
    let groups: String = letters.chunks(4).map(group).collect();
    Markup(format!("<span class=\"account-number\">{groups}</span>"))
}

/// A moment, in the tenant's zone.
pub(crate) fn time(moment: impl Borrow<Timestamp>, zone: &TimeZone) -> Markup {
    let moment = *moment.borrow();
    let local = moment.to_zoned(zone.clone());
    let shown = local.strftime("%-d %b %Y, %H:%M");
    let whole = local.strftime("%A, %-d %B %Y, %H:%M:%S %Z");
    let whole = escaped(&whole.to_string());
    Markup(format!("<time datetime=\"{moment}\" title=\"{whole}\">{shown}</time>"))
}

/// A business day.
pub(crate) fn date(day: impl Borrow<Date>) -> Markup {
    let day = day.borrow();
    Markup(format!("<time datetime=\"{day}\">{}</time>", day.strftime("%-d %b %Y")))
}

/// A status, told by words and by colour: `pending_approval` → “Pending approval”.
pub(crate) fn badge(status: &str) -> Markup {
    let tone = match status {
        "active" | "posted" | "success" | "sealed" | "verified" | "completed" | "approved"
        | "captured" | "delivered" | "enabled" | "ok" => "good",
        "pending" | "pending_approval" | "pre_published" | "not_started" | "in_review"
        | "authorised" | "held" | "authorized" | "processing" => "wait",
        "frozen" | "locked" | "dormant" | "restricted" | "warning" | "suspended" => "care",
        "failed" | "failing" | "failure" | "given_up" | "denied" | "rejected" | "revoked"
        | "blocked" | "error" | "critical" => "bad",
        _ => "calm",
    };
    Markup(format!("<span class=\"badge badge--{tone}\">{}</span>", escaped(&words(status))))
}

/// `pending_approval` → “Pending approval”.
pub(crate) fn words(code: &str) -> String {
    let spaced = code.replace(['_', '-'], " ");
    let mut letters = spaced.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// An id, short for the eye and whole for the clipboard.
#[allow(dead_code, reason = "the kit is for pages to come as well")]
pub(crate) fn id(id: impl Borrow<uuid::Uuid>) -> Markup {
    let text = id.borrow().to_string();
    let tail = text.rsplit('-').next().unwrap_or_default();
    Markup(format!("<code class=\"id\" title=\"{text}\" data-copy=\"{text}\">…{tail}</code>"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::{civil::date as day, tz::TimeZone};
    use proptest::prelude::*;

    use super::{amount_text, badge, date, escaped, money, movement, name, time, words};

    #[test]
    fn amounts_are_grouped_by_the_exponent_of_their_currency() {
        let table = [
            (0, "EUR", "0.00"),
            (5, "EUR", "0.05"),
            (-5, "EUR", "−0.05"),
            (123_456, "EUR", "1,234.56"),
            (100_000_000, "CZK", "1,000,000.00"),
            (1_234_567, "JPY", "1,234,567"),
            (-999, "JPY", "−999"),
            (1_234_567, "KWD", "1,234.567"),
            (i64::MIN, "EUR", "−92,233,720,368,547,758.08"),
        ];
        for (minor, code, text) in table {
            assert_eq!(amount_text(minor, code.parse().unwrap()), text);
        }
        let eur: money::Currency = "EUR".parse().unwrap();
        assert!(money(-1, eur).as_str().contains("money--negative"));
        assert!(movement(1, eur).as_str().contains("+0.01"));
    }

    proptest! {
        #[test]
        fn an_amount_reads_back(minor in any::<i64>()) {
            let text = amount_text(minor, "EUR".parse().unwrap());
            let plain: String = text.replace('\u{2212}', "-").chars()
                .filter(|letter| !matches!(letter, ',' | '.')).collect();
            prop_assert_eq!(plain.parse::<i64>().unwrap(), minor);
        }

        #[test]
        fn no_text_leaves_its_place(text in "\\PC{0,60}") {
            let html = escaped(&text);
            prop_assert!(!html.contains(['<', '>', '"', '\'']));
        }
    }

    #[test]
    fn hostile_names_stay_names() {
        let html = name("<script>alert(1)</script>\u{202e}gnp.exe\u{2066}");
        assert_eq!(
            html.as_str(),
            "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;\u{fffd}gnp.exe\u{fffd}</bdi>"
        );
        assert!(badge("\"><img src=x>").as_str().contains("&quot;&gt;&lt;img"));
    }

    #[test]
    fn moments_are_told_in_the_tenants_zone() {
        let moment: jiff::Timestamp = "2026-03-03T23:30:00Z".parse().unwrap();
        let prague = TimeZone::get("Europe/Prague").unwrap();
        assert!(time(moment, &prague).as_str().contains(">4 Mar 2026, 00:30<"));
        assert_eq!(
            date(day(2026, 3, 4)).as_str(),
            "<time datetime=\"2026-03-04\">4 Mar 2026</time>"
        );
        assert_eq!(words("pending_approval"), "Pending approval");
    }
}
