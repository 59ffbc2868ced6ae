//! How a tenant's messages look: its name, the words in the place of a logo, one colour,
//! and where its people find help. Owns which values are acceptable. Refuses to know the
//! layout, and to load anything from anywhere: pictures in mail tell their host who reads.

use access::Permission;
use audit::EventType;
use operation::{Applied, Command, Refusal, command::Outcome, event};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::{DbError, OpContext, TenantTx};
use tokio_postgres::Row;

use crate::notice::has_control;

const READ: &str = tenancy::sql!("notify/branding.sql", "read");
const WRITE: &str = tenancy::sql!("notify/branding.sql", "write");

/// Our own colour, where a tenant has none.
const COLOUR: &str = "#1f4e5f";
const NAME_MAX: usize = 60;
const LOGO_MAX: usize = 24;
const SUPPORT_MAX: usize = 120;

/// What a tenant has chosen; what it has not is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branding {
    /// The name that messages come from and are signed with; the tenant's own where absent.
    pub display_name: Option<String>,
    /// In the place of a logo; the name where absent.
    pub logo_text: Option<String>,
    /// `#rrggbb`, lower case.
    pub brand_colour: Option<String>,
    /// An e-mail address or a phone number.
    pub support_address: Option<String>,
}

impl Branding {
    pub(crate) fn from_row(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            display_name: row.try_get("display_name")?,
            logo_text: row.try_get("logo_text")?,
            brand_colour: row.try_get("brand_colour")?,
            support_address: row.try_get("support_address")?,
        })
    }

    fn check(&self) -> Result<(), Refusal> {
        let texts = [
            ("display_name", &self.display_name, NAME_MAX),
            ("logo_text", &self.logo_text, LOGO_MAX),
            ("support_address", &self.support_address, SUPPORT_MAX),
        ];
        for (field, text, most) in texts {
            let Some(text) = text else { continue };
            let length = text.chars().count();
            if text.trim().is_empty() || length > most || has_control(text) {
                let detail = format!("must be one line of 1 to {most} characters");
                return Err(Refusal::rule("validation_failed", field, detail));
            }
        }
        if self.support_address.as_ref().is_some_and(|address| address.len() < 3) {
            let detail = "must be an e-mail address or a phone number";
            return Err(Refusal::rule("validation_failed", "support_address", detail));
        }
        let is_colour = |colour: &String| {
            colour.strip_prefix('#').is_some_and(|digits| {
                digits.len() == 6
                    && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
            })
        };
        if self.brand_colour.as_ref().is_some_and(|colour| !is_colour(colour)) {
            let detail = "must be written #rrggbb, in lower case";
            return Err(Refusal::rule("validation_failed", "brand_colour", detail));
        }
        Ok(())
    }
}

/// Gives a tenant's messages their look, in the place of the one before.
#[derive(Clone, Debug)]
pub struct SetBranding {
    /// All of it: what is absent is ours again.
    pub branding: Branding,
}

impl Command for SetBranding {
    const NAME: &'static str = "branding.update";
    const RESOURCE: &'static str = "settings";
    type Output = Branding;

    fn permission(&self) -> Permission {
        Permission::SettingsUpdate
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Branding> {
        self.branding.check()?;
        let tenant = transaction.tenant();
        let before = match transaction.query_opt(READ, &[&tenant]).await? {
            Some(row) => Branding::from_row(&row)?,
            None => Branding::default(),
        };
        let Branding { display_name, logo_text, brand_colour, support_address } = &self.branding;
        transaction
            .execute(WRITE, &[&tenant, display_name, logo_text, brand_colour, support_address])
            .await?;
        let changed = event(context, EventType::ConfigurationChange, Self::NAME, Self::RESOURCE)
            .old_values(json!(before))
            .new_values(json!(self.branding));
        Ok(Applied { output: self.branding.clone(), status: 200, events: vec![changed] })
    }
}

/// A look with nothing missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) name: String,
    pub(crate) logo: String,
    pub(crate) colour: String,
    /// Black or white, whichever can be read on the colour.
    pub(crate) ink: &'static str,
    pub(crate) support: Option<String>,
}

impl Look {
    /// `tenant`: its name, for what it has not chosen.
    pub(crate) fn of(tenant: &str, branding: Branding) -> Self {
        // The name of a tenant was checked for its length alone.
        let own: String =
            tenant.chars().filter(|letter| !letter.is_control()).take(NAME_MAX).collect();
        let name = branding.display_name.unwrap_or(own);
        let colour = branding.brand_colour.unwrap_or_else(|| COLOUR.to_owned());
        Self {
            logo: branding.logo_text.unwrap_or_else(|| name.clone()),
            ink: ink_on(&colour),
            name,
            colour,
            support: branding.support_address,
        }
    }

    /// What to do about it: "write to help@bank.example".
    pub(crate) fn contact(&self) -> String {
        match &self.support {
            Some(address) if address.contains('@') => format!("write to {address}"),
            Some(number) => format!("call {number}"),
            None => format!("contact {}", self.name),
        }
    }
}

/// The lightness above which black has more contrast than white: where both have 4.58:1
/// (WCAG 2.2, relative luminance).
const LIGHT_FROM: f64 = 0.179;

fn ink_on(colour: &str) -> &'static str {
    let channel = |at: usize| {
        let digits = colour.get(at..at + 2).unwrap_or("00");
        let value = f64::from(u8::from_str_radix(digits, 16).unwrap_or_default()) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    let lightness = 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5);
    if lightness > LIGHT_FROM { "#000000" } else { "#ffffff" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fits_a_header_and_a_style_is_accepted() {
        let name =
            |text: &str| Branding { display_name: Some(text.to_owned()), ..Branding::default() };
        let colour =
            |text: &str| Branding { brand_colour: Some(text.to_owned()), ..Branding::default() };
        let support =
            |text: &str| Branding { support_address: Some(text.to_owned()), ..Branding::default() };
        let table = [
            (Branding::default(), true),
            (name("Banka Žižkov"), true),
            (name("Bank\r\nBcc: a@b.example"), false),
            (name(" "), false),
            (name(&"x".repeat(61)), false),
            (colour("#0a6b3d"), true),
            (colour("#0A6B3D"), false),
            (colour("red"), false),
            (colour("#0a6b3d;background:url(x)"), false),
            (support("help@bank.example"), true),
            (support("a\nb"), false),
            (support("ab"), false),
        ];
        for (branding, expected) in table {
            assert_eq!(branding.check().is_ok(), expected, "{branding:?}");
        }
    }

    #[test]
    fn ink_can_be_read_on_its_colour() {
        for (colour, ink) in [
            ("#000000", "#ffffff"),
            ("#ffffff", "#000000"),
            ("#1f4e5f", "#ffffff"),
            ("#ffd400", "#000000"),
            ("#0000ff", "#ffffff"),
        ] {
            assert_eq!(ink_on(colour), ink, "{colour}");
        }
    }

    #[test]
    fn what_a_tenant_has_not_chosen_is_its_name_and_our_colour() {
        let look = Look::of("Bank\u{7}", Branding::default());
        assert_eq!(
            (look.name.as_str(), look.logo.as_str(), look.colour.as_str()),
            ("Bank", "Bank", COLOUR)
        );
        assert_eq!(look.contact(), "contact Bank");
    }
}
