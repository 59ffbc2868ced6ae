//! The conditions of a custom role's grant, as closed data: what an administrator may demand
//! beside the scope, what each one means in Cedar, and which of them make no sense.
//!
//! Nothing typed by a person reaches Cedar but through these types: every text is parsed and
//! written anew. Refuses to know who holds the role.

use std::fmt;
use std::net::IpAddr;

use jiff::{Timestamp, civil::Time, tz::TimeZone};
use serde::{Deserialize, Serialize};
use tenancy::network::Network;

use crate::permission::{Permission, ResourceKind};
use crate::scope::Scope;

const NETWORKS_MAX: usize = 16;
/// Of a network or the name of a time zone, in bytes.
const TEXT_MAX: usize = 64;
/// As wire numbers have it: what a double holds exactly.
const AMOUNT_MAX: i64 = (1 << 53) - 1;
/// By a passkey: the best that a session is known by.
const MFA_LEVEL_MAX: u8 = 2;
const ACCOUNT_STATUSES: [&str; 3] = ["active", "frozen", "closed"];

/// What is wrong with one field of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its path, e.g. `permissions[2].conditions.networks[0]`.
    pub field: String,
    /// Stable, `lower_snake_case`.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl Fault {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), code: "invalid_value", message: message.into() }
    }

    pub(crate) fn within(mut self, parent: &str) -> Self {
        self.field = format!("{parent}.{}", self.field);
        self
    }
}

/// What a grant demands beside its scope; all of it together. The default demands nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// Only what the actor is a party to, the subject or the owner of: the scope `own`.
    #[serde(skip_serializing_if = "is_false")]
    pub owner_only: bool,
    /// Only what belongs to the actor's department.
    #[serde(skip_serializing_if = "is_false")]
    pub department: bool,
    /// Up to this amount, in this currency and no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_max: Option<AmountMax>,
    /// Only at these hours of these days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub business_hours: Option<BusinessHours>,
    /// Only from one of these networks; from anywhere where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// How well the session's owner is known at least: 1 by two factors, 2 by a passkey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mfa_level: Option<u8>,
    /// Only while the account is in one of these states; in any where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub account_status: Vec<String>,
}

/// A ceiling for one movement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmountMax {
    /// In minor units.
    pub amount: i64,
    /// Its ISO 4217 code.
    pub currency: String,
}

/// A stretch of some days of the week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusinessHours {
    /// IANA name, e.g. `Europe/Zurich`.
    pub time_zone: String,
    /// On which days.
    pub days: Vec<Day>,
    /// `HH:MM`, included.
    pub from: String,
    /// `HH:MM`, not included any more; `24:00` is the end of the day.
    pub to: String,
}

/// A day of the week, by the first three letters of its English name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// Under which circumstances somebody acts: what conditions may depend on and no row knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Situation {
    /// What time it is; no hours are open where it is not known.
    pub now: Option<Timestamp>,
    /// How well the session's owner is known: 0, 1 (two factors) or 2 (a passkey).
    pub mfa_level: u8,
    /// Where the request came from; in no network where it is not known.
    pub address: Option<IpAddr>,
    /// The circumstances were those that are demanded when somebody ordered what is decided
    /// now: they count as met.
    pub is_past: bool,
}

impl Situation {
    /// The circumstances of an order that was given before: whoever gave it met them then.
    pub const fn past() -> Self {
        Self { now: None, mfa_level: MFA_LEVEL_MAX, address: None, is_past: true }
    }

    pub(crate) fn is_within(&self, hours: &Hours) -> bool {
        self.is_past || self.now.is_some_and(|now| hours.are_open(now))
    }

    pub(crate) fn is_from(&self, network: &Network) -> bool {
        self.is_past || self.address.is_some_and(|address| network.contains(address))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Conditions {
    /// Whether nothing but the object itself is asked for.
    pub(crate) fn is_unconditional(&self) -> bool {
        let scope =
            Self { owner_only: self.owner_only, department: self.department, ..Self::default() };
        *self == scope
    }

    /// The conditions as they are decided by, or everything that is wrong with them.
    pub(crate) fn parse(&self, permissions: &[Permission]) -> Result<Demands, Vec<Fault>> {
        let mut faults = Vec::new();
        if self.owner_only && self.department {
            faults.push(Fault::new("department", "Either owner_only or department, not both"));
        }
        self.check_bearing(permissions, &mut faults);
        let hours = self.business_hours.as_ref().and_then(|hours| hours.parse(&mut faults));
        let networks = self.parse_networks(&mut faults);
        if faults.is_empty() {
            Ok(Demands {
                amount_max: self.amount_max.clone(),
                hours,
                networks,
                mfa_level: self.mfa_level.unwrap_or_default(),
                account_status: self.account_status.clone(),
            })
        } else {
            Err(faults)
        }
    }

    /// Each value by itself, and whether each permission knows such a fact of its object.
    fn check_bearing(&self, permissions: &[Permission], faults: &mut Vec<Fault>) {
        if let Some(max) = &self.amount_max {
            if !(1..=AMOUNT_MAX).contains(&max.amount) {
                faults.push(Fault::new("amount_max.amount", "Expected 1 to 2^53 - 1 minor units"));
            }
            if max.currency.len() != 3
                || !max.currency.bytes().all(|byte| byte.is_ascii_uppercase())
            {
                faults.push(Fault::new("amount_max.currency", "Expected an ISO 4217 code"));
            }
            if let Some(other) = permissions.iter().find(|permission| !has_amount(**permission)) {
                faults.push(Fault::new("amount_max", format!("{other} knows no amount")));
            }
        }
        if self.mfa_level.is_some_and(|level| !(1..=MFA_LEVEL_MAX).contains(&level)) {
            faults.push(Fault::new("mfa_level", "Expected 1 (two factors) or 2 (a passkey)"));
        }
        if self.account_status.len() > ACCOUNT_STATUSES.len() {
            let message = format!("At most {} states", ACCOUNT_STATUSES.len());
            faults.push(Fault::new("account_status", message));
            return;
        }
        for (index, status) in self.account_status.iter().enumerate() {
            let repeated = self.account_status[..index].contains(status);
            if repeated || !ACCOUNT_STATUSES.contains(&status.as_str()) {
                let expected = ACCOUNT_STATUSES.join(", ");
                let message = format!("Expected each of {expected} once at most");
                faults.push(Fault::new(format!("account_status[{index}]"), message));
            }
        }
        let statusless = || permissions.iter().find(|permission| !has_account_status(**permission));
        if let (false, Some(other)) = (self.account_status.is_empty(), statusless()) {
            let message = format!("{other} knows no status of an account");
            faults.push(Fault::new("account_status", message));
        }
    }

    fn parse_networks(&self, faults: &mut Vec<Fault>) -> Vec<Network> {
        if self.networks.len() > NETWORKS_MAX {
            faults.push(Fault::new("networks", format!("At most {NETWORKS_MAX} networks")));
            return Vec::new();
        }
        let parsed = self.networks.iter().enumerate().filter_map(|(index, text)| {
            let network = (text.len() <= TEXT_MAX).then(|| text.parse().ok()).flatten();
            let network = network.filter(Network::is_bare);
            if network.is_none() {
                let message = "Expected a network such as 10.0.0.0/8";
                faults.push(Fault::new(format!("networks[{index}]"), message));
            }
            network
        });
        parsed.collect()
    }
}

/// Movements of an amount that is known when they are decided. Lists have no such fact, so
/// no read is among them.
const fn has_amount(permission: Permission) -> bool {
    matches!(
        permission,
        Permission::TransactionCreate
            | Permission::TransactionDeposit
            | Permission::TransactionWithdraw
            | Permission::TransactionFee
            | Permission::HoldCreate
    )
}

/// What is done to one account that the path names.
const fn has_account_status(permission: Permission) -> bool {
    matches!(
        permission,
        Permission::AccountUpdate
            | Permission::AccountDelete
            | Permission::TransactionDeposit
            | Permission::TransactionWithdraw
            | Permission::TransactionFee
    )
}

/// Whether lists of this kind of object know the scope. Elsewhere an object has no such fact,
/// and a list that is shown whole or not at all would be shown whole.
pub(crate) const fn knows(kind: ResourceKind, scope: Scope) -> bool {
    let known = match kind {
        ResourceKind::User => Scope::OWN.union(Scope::ORGANISATION),
        ResourceKind::Customer
        | ResourceKind::Account
        | ResourceKind::Transaction
        | ResourceKind::Hold
        | ResourceKind::Loan
        | ResourceKind::Card
        | ResourceKind::Kyc => Scope::OWN,
        ResourceKind::Organization => Scope::ORGANISATION,
        ResourceKind::Company | ResourceKind::Statement | ResourceKind::Prediction => {
            Scope::OWN.union(Scope::ORGANISATION).union(Scope::ASSIGNED)
        }
        ResourceKind::Equipment => Scope::OWN.union(Scope::DEPARTMENT),
        _ => Scope::NONE,
    };
    scope.is_all() || known.includes(scope)
}

/// Whether a permission of this kind is the platform's alone.
pub(crate) const fn is_the_platforms(kind: ResourceKind) -> bool {
    matches!(kind, ResourceKind::System | ResourceKind::Tenant)
}

impl BusinessHours {
    fn parse(&self, faults: &mut Vec<Fault>) -> Option<Hours> {
        let before = faults.len();
        let mut fault = |field: &str, message: &str| {
            faults.push(Fault::new(format!("business_hours.{field}"), message));
        };
        let zone = Some(&self.time_zone).filter(|name| name.len() <= TEXT_MAX);
        let zone = zone.and_then(|name| TimeZone::get(name).ok());
        let zone = zone.filter(|zone| zone.iana_name().is_some());
        if zone.is_none() {
            fault("time_zone", "Expected an IANA time zone such as Europe/Zurich");
        }
        let mut days: Vec<Day> = self.days.iter().copied().take(8).collect();
        days.sort_unstable();
        days.dedup();
        if days.is_empty() || days.len() != self.days.len() {
            fault("days", "Expected each day once at most, and at least one");
        }
        let (from, to) = (minute_of_day(&self.from), minute_of_day(&self.to));
        if from.is_none() {
            fault("from", "Expected HH:MM");
        }
        match (from, to) {
            (_, None) => fault("to", "Expected HH:MM"),
            (Some(from), Some(to)) if from >= to => fault("to", "Expected a time behind from"),
            _ => {}
        }
        let (zone, from, to) = (zone?, from?, to?);
        (faults.len() == before).then_some(Hours { zone, days, from, to })
    }
}

/// Minutes since midnight, of `HH:MM` in digits, up to `24:00`.
fn minute_of_day(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= 24 * 60).then_some(total)
}

/// [`Conditions`] that were checked.
#[derive(Clone, Debug)]
pub(crate) struct Demands {
    amount_max: Option<AmountMax>,
    pub(crate) hours: Option<Hours>,
    pub(crate) networks: Vec<Network>,
    mfa_level: u8,
    account_status: Vec<String>,
}

/// Business hours that were checked. What Cedar is told is their text, among those that are
/// open: it knows no time zone.
#[derive(Clone, Debug)]
pub(crate) struct Hours {
    zone: TimeZone,
    days: Vec<Day>,
    from: u16,
    to: u16,
}

impl Hours {
    /// Whether the clocks of the zone show one of these hours.
    pub(crate) fn are_open(&self, now: Timestamp) -> bool {
        let local = now.to_zoned(self.zone.clone());
        let today = match local.weekday().to_monday_zero_offset() {
            0 => Day::Mon,
            1 => Day::Tue,
            2 => Day::Wed,
            3 => Day::Thu,
            4 => Day::Fri,
            5 => Day::Sat,
            _ => Day::Sun,
        };
        let minute = minute_of(local.time());
        self.days.contains(&today) && (self.from..self.to).contains(&minute)
    }
}

fn minute_of(time: Time) -> u16 {
    // Hours and minutes are never negative.
    u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs())
}

impl fmt::Display for Hours {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = self.zone.iana_name().unwrap_or_default();
        write!(formatter, "{zone} {:?} {}-{}", self.days, self.from, self.to)
    }
}

impl Demands {
    /// Whether the circumstances are those that are demanded; of the object nothing is asked.
    pub(crate) fn are_met(&self, situation: &Situation) -> bool {
        let in_time = self.hours.as_ref().is_none_or(|hours| situation.is_within(hours));
        let in_network = self.networks.is_empty()
            || self.networks.iter().any(|network| situation.is_from(network));
        in_time && in_network && situation.mfa_level >= self.mfa_level
    }

    /// The circumstances and particulars that are not as they are demanded, by the names of
    /// their fields.
    pub(crate) fn unmet(
        &self,
        situation: &Situation,
        (amount, status): (Option<(i64, &str)>, Option<&str>),
    ) -> Vec<&'static str> {
        let is_within = |max: &AmountMax| {
            amount.is_some_and(|(minor, code)| code == max.currency && minor <= max.amount)
        };
        let is_among = |status: &str| self.account_status.iter().any(|allowed| allowed == status);
        let is_open = |hours: &Hours| situation.is_within(hours);
        let is_from = |network: &Network| situation.is_from(network);
        let demands = [
            ("amount_max", self.amount_max.as_ref().is_none_or(is_within)),
            ("account_status", self.account_status.is_empty() || status.is_some_and(is_among)),
            ("business_hours", self.hours.as_ref().is_none_or(is_open)),
            ("networks", self.networks.is_empty() || self.networks.iter().any(is_from)),
            ("mfa_level", situation.mfa_level >= self.mfa_level),
        ];
        demands.into_iter().filter(|(_, is_met)| !is_met).map(|(name, _)| name).collect()
    }

    /// An amount and a state with which they would be as they are demanded.
    pub(crate) fn particulars(&self) -> (Option<(i64, &str)>, Option<&str>) {
        let amount = self.amount_max.as_ref().map(|max| (max.amount, max.currency.as_str()));
        (amount, self.account_status.first().map(String::as_str))
    }

    /// The Cedar form, a conjunct each.
    pub(crate) fn to_cedar(&self) -> Vec<String> {
        let mut conjuncts = Vec::new();
        if let Some(max) = &self.amount_max {
            conjuncts.push(format!(
                "resource has amount && resource has currency && resource.currency == {:?} \
                 && resource.amount <= {}",
                max.currency, max.amount
            ));
        }
        if !self.account_status.is_empty() {
            let known = &self.account_status;
            conjuncts.push(format!("resource has status && {known:?}.contains(resource.status)"));
        }
        if let Some(hours) = &self.hours {
            conjuncts.push(format!("context.open_hours.contains({:?})", hours.to_string()));
        }
        if !self.networks.is_empty() {
            let networks: Vec<_> = self.networks.iter().map(ToString::to_string).collect();
            conjuncts.push(format!("context.networks.containsAny({networks:?})"));
        }
        if self.mfa_level > 0 {
            conjuncts.push(format!("context.mfa_level >= {}", self.mfa_level));
        }
        conjuncts
    }
}
