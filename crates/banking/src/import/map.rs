//! The column map: which column of which file means what. TOML, strict.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Deserialize;

/// A whole import, as the map file describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportMap {
    /// Names the origin: a record is imported once per (source, kind, source id).
    pub source: String,
    /// The field separator of every file.
    pub delimiter: char,
    /// ISO 4217 code of all amounts.
    pub currency: String,
    /// By how much a published balance may differ from its predecessor plus the
    /// movement and still count as rounded, as a decimal string; absent: not at all.
    pub rounding: Option<String>,
    /// Who.
    pub customers: CustomersMap,
    /// What they hold.
    pub accounts: AccountsMap,
    /// Who may use which account.
    pub parties: PartiesMap,
    /// What happened.
    pub transactions: TransactionsMap,
}

/// The customers file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomersMap {
    /// File name below the import's folder; `.xz` is unpacked.
    pub file: String,
    /// Column of the source id.
    pub id: String,
    /// First name.
    pub first_name: Template,
    /// Last name.
    pub last_name: Template,
    /// Date of birth, where known.
    pub date_of_birth: Option<DateColumn>,
    /// National or tax number, where known.
    pub tax_id: Option<Template>,
}

/// The accounts file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountsMap {
    /// File name.
    pub file: String,
    /// Column of the source id.
    pub id: String,
    /// Opening date.
    pub opened_date: DateColumn,
    /// Product name given to every account.
    pub account_type: String,
}

/// The file that links customers and accounts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartiesMap {
    /// File name.
    pub file: String,
    /// Column of the source id.
    pub id: String,
    /// Column of the customer's source id.
    pub customer: String,
    /// Column of the account's source id.
    pub account: String,
    /// Role: `owner`, `joint_owner` or `disponent`.
    pub role: Choice,
}

/// The file of movements.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransactionsMap {
    /// File name.
    pub file: String,
    /// Column of the source id.
    pub id: String,
    /// Column of the account's source id.
    pub account: String,
    /// Value date.
    pub date: DateColumn,
    /// `credit` or `debit`.
    pub direction: Choice,
    /// Column of the amount: a positive decimal number.
    pub amount: String,
    /// Column of the published balance after the movement, where there is one.
    pub balance: Option<String>,
    /// Shown to people.
    pub description: Template,
    /// The other bank's own reference.
    pub reference: Template,
}

/// A text with `{column}` in it.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Template(String);

/// A column whose values are translated; any other value is a fault.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The column.
    pub column: String,
    /// Its values and what they mean.
    pub values: BTreeMap<String, String>,
}

/// How a date is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum DateFormat {
    /// Two digits each, the century given beside it.
    #[serde(rename = "YYMMDD")]
    ShortYear,
    /// ISO 8601.
    #[serde(rename = "YYYY-MM-DD")]
    Iso,
}

/// A column that holds a date.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DateColumn {
    /// The column.
    pub column: String,
    /// How it is written.
    pub format: DateFormat,
    /// What two-digit years count from, e.g. 1900.
    #[serde(default)]
    pub century: i16,
    /// What is added to the month for women in some national numbers (50 in Czech ones).
    #[serde(default)]
    pub month_offset: i8,
}

/// Why a map cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// Not TOML, or not of the map's shape.
    #[error("the column map is not valid: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A value makes no sense.
    #[error("the column map is not valid: {field}: {message}")]
    Value {
        /// Where.
        field: &'static str,
        /// What is wrong.
        message: String,
    },
}

impl ImportMap {
    /// Reads and checks a map.
    pub fn parse(text: &str) -> Result<Self, MapError> {
        let map: Self = toml::from_str(text)?;
        let named = map.source.len() <= 64
            && !map.source.is_empty()
            && map
                .source
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !named {
            return Err(value("source", "1 to 64 of a-z, 0-9 and -"));
        }
        if !map.delimiter.is_ascii() || map.delimiter == '"' {
            return Err(value("delimiter", "one ASCII character other than the quote"));
        }
        check_choice("parties.role", &map.parties.role, &["owner", "joint_owner", "disponent"])?;
        check_choice("transactions.direction", &map.transactions.direction, &["credit", "debit"])?;
        Ok(map)
    }
}

fn value(field: &'static str, message: impl Into<String>) -> MapError {
    MapError::Value { field, message: message.into() }
}

fn check_choice(field: &'static str, choice: &Choice, known: &[&str]) -> Result<(), MapError> {
    match choice.values.values().find(|meaning| !known.contains(&meaning.as_str())) {
        Some(unknown) => Err(value(field, format!("{unknown:?} is none of {known:?}"))),
        None => Ok(()),
    }
}

impl Template {
    /// The columns it names.
    pub fn columns(&self) -> Vec<&str> {
        self.parts().filter_map(Result::err).collect()
    }

    /// The text with the columns' values in their places, spaces squeezed.
    pub fn fill<'a>(&'a self, lookup: impl Fn(&'a str) -> &'a str) -> String {
        let filled: String = self.parts().map(|part| part.unwrap_or_else(&lookup)).collect();
        filled.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// `Ok` is text, `Err` a column's name.
    fn parts(&self) -> impl Iterator<Item = Result<&str, &str>> {
        self.0.split_inclusive(['{', '}']).map(|piece| match piece.strip_suffix('}') {
            Some(column) => Err(column),
            None => Ok(piece.strip_suffix('{').unwrap_or(piece)),
        })
    }
}

impl DateColumn {
    /// Reads a date.
    pub fn read(&self, text: &str) -> Result<Date, String> {
        let bad = || format!("{text:?} is not a date of the form {:?}", self.format);
        match self.format {
            DateFormat::Iso => text.parse().map_err(|_| bad()),
            DateFormat::ShortYear => {
                if text.len() != 6 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(bad());
                }
                let number =
                    |range: std::ops::Range<usize>| text[range].parse::<i8>().map_err(|_| bad());
                let month = number(2..4)?;
                let month =
                    if month > self.month_offset { month - self.month_offset } else { month };
                let year = self.century + i16::from(number(0..2)?);
                Date::new(year, month, number(4..6)?).map_err(|_| bad())
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jiff::civil::date;

    use super::{DateColumn, DateFormat, Template};

    #[test]
    fn dates_are_read_as_the_map_says() {
        let mut column = DateColumn {
            column: "date".to_owned(),
            format: DateFormat::ShortYear,
            century: 1900,
            month_offset: 0,
        };
        assert_eq!(column.read("930101"), Ok(date(1993, 1, 1)));
        assert!(column.read("930229").is_err());
        assert!(column.read("93010").is_err());
        assert!(column.read("9301é").is_err());
        column.month_offset = 50;
        assert_eq!(column.read("706213"), Ok(date(1970, 12, 13)));
        assert_eq!(column.read("450204"), Ok(date(1945, 2, 4)));
        column.format = DateFormat::Iso;
        assert_eq!(column.read("1998-02-28"), Ok(date(1998, 2, 28)));
    }

    #[test]
    fn templates_are_filled_from_columns() {
        let template: Template = Template("Client {id}  of {town}".to_owned());
        assert_eq!(template.columns(), ["id", "town"]);
        let filled = template.fill(|column| if column == "id" { "7" } else { "Prague" });
        assert_eq!(filled, "Client 7 of Prague");
        assert_eq!(Template("plain".to_owned()).fill(|_| ""), "plain");
    }
}
