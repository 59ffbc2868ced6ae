//! The grants of a custom role as a person writes them: one a line, its conditions behind
//! semicolons; and the same in words.
//!
//! ```text
//! transaction:deposit; amount 1000.00 EUR; hours mon tue 08:00-18:00 Europe/Prague
//! account:update; factor passkey; from 10.0.0.0/8; status active; department
//! ```
//!
//! Refuses to judge: what a grant may be is said by `access`, whose faults are told here under
//! the number of their line.

use std::{collections::BTreeMap, fmt::Write as _};

use access::{AmountMax, BusinessHours, Conditions, Day, Permission, RolePermission};
use money::Currency;
use operation::FieldError;

use crate::kit;

/// The days as they are written, in order.
const DAYS: [(&str, Day); 7] = [
    ("mon", Day::Mon),
    ("tue", Day::Tue),
    ("wed", Day::Wed),
    ("thu", Day::Thu),
    ("fri", Day::Fri),
    ("sat", Day::Sat),
    ("sun", Day::Sun),
];

/// Grants, each with the number of its line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) permissions: Vec<RolePermission>,
    lines: Vec<usize>,
}

/// What cannot be read: the number of a line, and why.
pub(super) type Unreadable = (usize, String);

/// Reads a text, or everything in it that cannot be read.
pub(super) fn read(text: &str) -> Result<Written, Vec<Unreadable>> {
    let (mut written, mut faults) = (Written::default(), Vec::new());
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
        match grant(line) {
            Ok(permission) => {
                written.permissions.push(permission);
                written.lines.push(number);
            }
            Err(fault) => faults.push((number, fault)),
        }
    }
    if faults.is_empty() { Ok(written) } else { Err(faults) }
}

fn grant(line: &str) -> Result<RolePermission, String> {
    let mut parts = line.split(';').map(str::trim);
    let permission = parts.next().unwrap_or_default().to_owned();
    let mut conditions = Conditions::default();
    for part in parts.filter(|part| !part.is_empty()) {
        let (word, rest) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
        let values: Vec<&str> =
            rest.split([' ', '\t', ',']).filter(|one| !one.is_empty()).collect();
        condition(&mut conditions, word, &values)?;
    }
    Ok(RolePermission { permission, conditions })
}

fn condition(conditions: &mut Conditions, word: &str, values: &[&str]) -> Result<(), String> {
    let owned = || values.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    match (word, values) {
        ("own", []) => conditions.owner_only = true,
        ("department", []) => conditions.department = true,
        ("amount", [amount, currency]) => {
            conditions.amount_max = Some(ceiling(amount, currency)?);
        }
        ("hours", [days @ .., span, zone]) => {
            conditions.business_hours = Some(hours(days, span, zone)?);
        }
        ("from", [_, ..]) => conditions.networks = owned(),
        ("factor", ["any"]) => conditions.mfa_level = Some(1),
        ("factor", ["passkey"]) => conditions.mfa_level = Some(2),
        ("status", [_, ..]) => conditions.account_status = owned(),
        ("own" | "department", _) => return Err(format!("“{word}” stands alone")),
        ("amount", _) => return Err("Write it like “amount 1000.00 EUR”".to_owned()),
        ("hours", _) => {
            return Err("Write it like “hours mon fri 08:00-18:00 Europe/Prague”".to_owned());
        }
        ("from", _) => return Err("Write it like “from 10.0.0.0/8”".to_owned()),
        ("factor", _) => return Err("Write “factor any” or “factor passkey”".to_owned()),
        ("status", _) => return Err("Write it like “status active frozen”".to_owned()),
        _ => return Err(format!("“{word}” is no condition")),
    }
    Ok(())
}

fn ceiling(amount: &str, currency: &str) -> Result<AmountMax, String> {
    let known: Currency =
        currency.parse().map_err(|_| format!("“{currency}” is no currency: write EUR, say"))?;
    let amount = known.parse_minor(amount).map_err(|_| {
        format!("“{amount}” is no amount: write it like {}", known.format_minor(123_450))
    })?;
    Ok(AmountMax { amount, currency: known.code().to_owned() })
}

fn hours(days: &[&str], span: &str, zone: &str) -> Result<BusinessHours, String> {
    let day = |text: &&str| {
        let known = DAYS.iter().find(|(name, _)| name == text).map(|(_, day)| *day);
        known.ok_or_else(|| format!("“{text}” is no day: write mon, tue, …, sun"))
    };
    let (from, to) =
        span.split_once('-').ok_or_else(|| format!("“{span}” are no hours: write 08:00-18:00"))?;
    Ok(BusinessHours {
        time_zone: zone.to_owned(),
        days: days.iter().map(day).collect::<Result<_, _>>()?,
        from: from.to_owned(),
        to: to.to_owned(),
    })
}

/// The text that is read as these grants.
pub(super) fn write(permissions: &[RolePermission]) -> String {
    let mut text = String::new();
    for one in permissions {
        let _ = writeln!(text, "{}{}", one.permission, written(&one.conditions));
    }
    text
}

fn written(conditions: &Conditions) -> String {
    let mut text = String::new();
    let mut add = |part: String| text.extend(["; ", &part]);
    if conditions.owner_only {
        add("own".to_owned());
    }
    if conditions.department {
        add("department".to_owned());
    }
    if let Some(max) = &conditions.amount_max {
        add(format!("amount {} {}", plain_amount(max), max.currency));
    }
    if let Some(hours) = &conditions.business_hours {
        let days = day_names(&hours.days).join(" ");
        add(format!("hours {days} {}-{} {}", hours.from, hours.to, hours.time_zone));
    }
    if !conditions.networks.is_empty() {
        add(format!("from {}", conditions.networks.join(" ")));
    }
    match conditions.mfa_level {
        Some(1) => add("factor any".to_owned()),
        Some(_) => add("factor passkey".to_owned()),
        None => {}
    }
    if !conditions.account_status.is_empty() {
        add(format!("status {}", conditions.account_status.join(" ")));
    }
    text
}

/// As it is typed: `1000.00`.
fn plain_amount(max: &AmountMax) -> String {
    let known = max.currency.parse::<Currency>();
    known.map_or_else(|_| max.amount.to_string(), |known| known.format_minor(max.amount))
}

fn day_names(days: &[Day]) -> Vec<&'static str> {
    let chosen = DAYS.iter().filter(|(_, day)| days.contains(day));
    chosen.map(|(name, _)| *name).collect()
}

impl Written {
    /// The faults of a definition, each with the number of the line that it is of, under the
    /// names of the form.
    pub(super) fn faults(&self, errors: Vec<FieldError>) -> Vec<FieldError> {
        errors.into_iter().map(|error| self.fault(error)).collect()
    }

    fn fault(&self, error: FieldError) -> FieldError {
        let index = error.field.strip_prefix("permissions[").and_then(|rest| rest.split_once(']'));
        let Some((index, _)) = index else {
            let field = if error.field == "permissions" { "grants".into() } else { error.field };
            return FieldError { field, message: format!("{}.", error.message), ..error };
        };
        let number = index.parse().ok().and_then(|index: usize| self.lines.get(index));
        let number = number.copied().unwrap_or_default();
        let message = line_fault(number, &error.message);
        FieldError { field: "grants".into(), code: error.code, message }
    }
}

/// What is wrong with a line, as the form says it.
pub(super) fn line_fault(number: usize, message: &str) -> String {
    format!("Line {number}: {message}.")
}

/// What a grant is on, in words.
pub(super) fn reach(one: &RolePermission) -> &'static str {
    if one.conditions.owner_only {
        return "Their own";
    }
    if one.conditions.department {
        return "Their department’s";
    }
    match one.permission.split(':').nth(2) {
        Some("own") => "Their own",
        Some("own_org") => "Their organisation’s",
        Some("assigned_companies") => "Companies assigned to them",
        _ => "All of the tenant’s",
    }
}

/// What a grant may be used for, in words: `account:*` → “Account: everything”.
pub(super) fn action(one: &RolePermission) -> String {
    let mut parts = one.permission.split(':');
    let (kind, verb) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let verb = if verb == "*" { "everything".to_owned() } else { verb.replace('_', " ") };
    format!("{}: {verb}", kit::words(kind))
}

/// What a grant demands beside its reach, in words.
pub(super) fn demands(one: &RolePermission) -> Vec<String> {
    let (conditions, mut words) = (&one.conditions, Vec::new());
    if let Some(max) = &conditions.amount_max {
        let known = max.currency.parse::<Currency>();
        let amount = known
            .map_or_else(|_| max.amount.to_string(), |known| kit::amount_text(max.amount, known));
        words.push(format!("up to {amount} {}", max.currency));
    }
    if let Some(hours) = &conditions.business_hours {
        let days: Vec<String> = day_names(&hours.days).into_iter().map(kit::words).collect();
        let (from, to) = (&hours.from, &hours.to);
        words.push(format!("{} {from}–{to} ({})", days.join(", "), hours.time_zone));
    }
    if !conditions.networks.is_empty() {
        words.push(format!("from {}", conditions.networks.join(", ")));
    }
    match conditions.mfa_level {
        Some(1) => words.push("by two factors".to_owned()),
        Some(_) => words.push("by a passkey".to_owned()),
        None => {}
    }
    if !conditions.account_status.is_empty() {
        let states = conditions.account_status.join(" or ");
        words.push(format!("while the account is {states}"));
    }
    words
}

/// A permission that one side has otherwise than the other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) permission: &'static str,
    /// Each way in which it is held, in words; empty where it is not.
    pub(super) now: Vec<String>,
    pub(super) then: Vec<String>,
}

impl Difference {
    /// What becomes of it.
    pub(super) fn turn(&self) -> &'static str {
        match (self.now.is_empty(), self.then.is_empty()) {
            (true, _) => "appears",
            (_, true) => "vanishes",
            _ => "changes",
        }
    }
}

/// What a change of grants does, permission by permission: `*` is every action of its kind.
pub(super) fn differences(now: &[RolePermission], then: &[RolePermission]) -> Vec<Difference> {
    let (now, then) = (held(now), held(then));
    let names = Permission::ALL.iter().map(|permission| permission.as_str());
    let of = |held: &BTreeMap<&str, Vec<String>>, name| held.get(name).cloned().unwrap_or_default();
    names
        .map(|name| Difference { permission: name, now: of(&now, name), then: of(&then, name) })
        .filter(|difference| difference.now != difference.then)
        .collect()
}

fn held(grants: &[RolePermission]) -> BTreeMap<&'static str, Vec<String>> {
    let mut held: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for one in grants {
        let mut parts = one.permission.split(':');
        let (kind, verb) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let mut ways = vec![reach(one).to_owned()];
        ways.extend(demands(one));
        for permission in Permission::ALL {
            let (known, action) = permission.as_str().split_once(':').unwrap_or_default();
            if known == kind && (verb == "*" || verb == action) {
                held.entry(permission.as_str()).or_default().push(ways.join("; "));
            }
        }
    }
    for ways in held.values_mut() {
        ways.sort();
        ways.dedup();
    }
    held
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{action, demands, differences, reach, read, write};

    const WHOLE: &str = "account:read\n\
        transaction:deposit; amount 1000.00 EUR; hours mon fri 08:00-18:00 Europe/Prague; \
        from 10.0.0.0/8 192.0.2.7/32; factor passkey; status active frozen\n\
        user:read:own_org\n\
        equipment:*; department\n\
        transaction:withdraw; own; factor any\n";

    #[test]
    fn what_is_written_is_read_back() {
        let written = read(WHOLE).unwrap();
        assert_eq!(write(&written.permissions), WHOLE);
        let loose = "\n  account:read ;; \r\n\n user:read:own_org;factor   any";
        let loose = read(loose).unwrap();
        assert_eq!(write(&loose.permissions), "account:read\nuser:read:own_org; factor any\n");
        assert_eq!(loose.lines, [2, 4]);
    }

    #[test]
    fn what_is_no_condition_is_told_with_its_line() {
        for (line, words) in [
            ("account:read; always", "“always” is no condition"),
            ("account:read; own mine", "“own” stands alone"),
            ("transaction:deposit; amount 10", "Write it like “amount 1000.00 EUR”"),
            ("transaction:deposit; amount 1.005 EUR", "“1.005” is no amount"),
            ("transaction:deposit; amount 10 XXZ", "“XXZ” is no currency"),
            ("account:read; hours noon 08:00-18:00 UTC", "“noon” is no day"),
            ("account:read; hours mon 8 UTC", "“8” are no hours"),
            ("account:read; hours mon", "Write it like “hours"),
            ("account:read; factor 3", "Write “factor any”"),
            ("account:read; from", "Write it like “from"),
            ("account:update; status", "Write it like “status"),
        ] {
            let faults = read(&format!("account:read\n\n{line}")).unwrap_err();
            assert_eq!(faults.len(), 1, "{line}");
            assert!(faults[0].0 == 3 && faults[0].1.contains(words), "{line}: {faults:?}");
        }
    }

    #[test]
    fn grants_are_told_in_words() {
        let grants = read(WHOLE).unwrap().permissions;
        let reaches: Vec<_> = grants.iter().map(reach).collect();
        let all = "All of the tenant’s";
        let expected = [all, all, "Their organisation’s", "Their department’s", "Their own"];
        assert_eq!(reaches, expected);
        assert_eq!(action(&grants[3]), "Equipment: everything");
        let expected = [
            "up to 1,000.00 EUR",
            "Mon, Fri 08:00–18:00 (Europe/Prague)",
            "from 10.0.0.0/8, 192.0.2.7/32",
            "by a passkey",
            "while the account is active or frozen",
        ];
        assert_eq!(demands(&grants[1]), expected);
    }

    #[test]
    fn a_difference_is_of_permissions_and_not_of_lines() {
        let of = |text: &str| read(text).unwrap().permissions;
        assert!(
            differences(&of("hold:read\naccount:read"), &of("account:read\nhold:read")).is_empty()
        );
        let every = of("hold:*");
        let found = differences(&of("hold:read; own\naccount:read"), &every);
        let turns: Vec<_> = found.iter().map(|one| (one.permission, one.turn())).collect();
        assert!(turns.contains(&("hold:read", "changes")), "{turns:?}");
        assert!(turns.contains(&("hold:create", "appears")), "{turns:?}");
        assert!(turns.contains(&("account:read", "vanishes")), "{turns:?}");
        assert!(found.iter().all(|one| one.permission != "account:update"));
    }
}
