//! Owns the small businesses of the demo: what they earn, whom they pay, and what
//! the tax office gets.

use banking::PartyRole;
use jiff::ToSpan as _;
use jiff::civil::{Date, Weekday};

use super::cast::{Cast, Wanted, business, checking, savings};
use super::dice::Dice;
use super::life::{Income, is_last_working_day, is_working_day, working_day_from};
use super::places::CLIENTS;
use super::play::month_of;
use super::wish::{Amount, at};

const KOELN: usize = 0;
const BERLIN: usize = 2;
const LEIPZIG: usize = 3;

/// A joiner's workshop with two employees, who bank here as well. The login
/// `grete` pays them; `hugo` may act for her.
pub(super) fn workshop(
    cast: &mut Cast,
    [(hugo, hugo_account), (_, sanne_account)]: [(usize, usize); 2],
) {
    let firm = cast.company(
        "workshop",
        Some("grete"),
        "Tischlerei Brandt GmbH",
        ("Grete", "Brandt"),
        KOELN,
    );
    let account = cast.account(firm, business(2_418_650, 1_000_000));
    cast.party(account, hugo, PartyRole::Disponent);
    let reserve = cast.account(firm, savings(1_150_000, 100));
    let mut dice = cast.dice("workshop's trade");
    let mut number = 311;
    let mut taxable = 0;
    let mut day = cast.first;
    while day <= cast.last {
        if is_working_day(day) && dice.chance(36) {
            number += 1;
            let net = dice.between(640, 4_300) * 100;
            taxable += net;
            let client = dice.pick(&CLIENTS);
            let text =
                (format!("Invoice 2026-{number:04} · {client}"), format!("RE 2026-{number:04}"));
            cast.wishes.income(
                at(day, dice.between(8, 15), dice.between(0, 59)),
                account,
                net * 119 / 100,
                text,
            );
        }
        if day.weekday() == Weekday::Wednesday {
            let amount = dice.between(41_000, 312_000);
            let text = (
                format!("Timber delivery · Sägewerk Eifelholz, CW {}", day.strftime("%V")),
                format!("LS {}", dice.digits(6)),
            );
            cast.wishes.expense(at(day, 9, 45), account, Amount::Exact(amount), text);
        }
        if day.weekday() == Weekday::Friday && dice.chance(60) {
            let text = (
                "Fittings and tools · Beschlag Kontor West".to_owned(),
                format!("KD 4471 / {}", dice.digits(5)),
            );
            cast.wishes.expense(
                at(day, 16, 20),
                account,
                Amount::Exact(dice.between(7_900, 68_000)),
                text,
            );
        }
        workshop_dues(cast, day, (account, reserve), &mut taxable);
        workshop_payroll(cast, day, (firm, account), [hugo_account, sanne_account]);
        day = day.saturating_add(1.day());
    }
}

/// What falls due on a day of the month: rent, tax with its reserve, the van.
fn workshop_dues(
    cast: &mut Cast,
    day: Date,
    (account, reserve): (usize, usize),
    taxable: &mut i64,
) {
    let month = month_of(day);
    if day.day() == 1 {
        let text = (format!("Workshop rent {month} · Gewerbepark Kalk"), "Halle 7".to_owned());
        cast.wishes.expense(at(day, 6, 0), account, Amount::Exact(184_000), text);
    }
    if day.day() == 10 {
        let due = working_day_from(day);
        let vat = (*taxable * 19 / 100 * 62 / 100).max(96_400);
        *taxable = 0;
        let filed = month_of(day.saturating_sub(12.days()));
        cast.wishes.expense(
            at(due, 7, 0),
            account,
            Amount::Exact(vat),
            (format!("VAT {filed} · Finanzamt Köln-Ost"), "USt-VA 214/5823/0917".to_owned()),
        );
        cast.wishes.standing(
            at(due, 7, 15),
            (account, reserve),
            75_000,
            (format!("Tax reserve {month}"), "Standing order".to_owned()),
        );
    }
    if day.day() == 15 {
        cast.wishes.expense(
            at(day, 6, 5),
            account,
            Amount::Exact(38_990),
            (format!("Van lease {month} · Rheinfuhr Leasing"), "LV 88-2041".to_owned()),
        );
    }
}

/// Two salaries on the last working day.
fn workshop_payroll(
    cast: &mut Cast,
    day: Date,
    (firm, account): (usize, usize),
    [hugo_account, sanne_account]: [usize; 2],
) {
    if !is_last_working_day(day) {
        return;
    }
    let month = month_of(day);
    // Before she had a login the payroll office did it.
    let by_hand = day >= cast.days_ago(58);
    for (place, (to, amount, who)) in
        [(hugo_account, 246_310, "H. Almeida"), (sanne_account, 228_845, "S. de Vries")]
            .into_iter()
            .enumerate()
    {
        let text = (format!("Salary {month} · {who}"), day.strftime("Gehalt %m/%Y").to_string());
        let minute = 12 + i64::try_from(place).unwrap_or(0);
        if by_hand {
            cast.wishes.ordered(
                at(day, 8, minute),
                firm,
                (account, to),
                Amount::Exact(amount),
                text,
            );
        } else {
            cast.wishes.standing(at(day, 8, minute), (account, to), amount, text);
        }
    }
}

/// A café: cards every day, cash once a week at the counter.
pub(super) fn cafe(cast: &mut Cast) {
    let firm =
        cast.company("cafe", None, "Seerose Café & Rösterei KG", ("Jasper", "Quandt"), LEIPZIG);
    let account = cast.account(firm, business(684_120, 500_000));
    let owner = cast.person("jasper", None, ("Jasper", "Quandt"), LEIPZIG, (1974, 1984));
    let home = cast.account(owner, checking(151_900, 100_000));
    cast.live(home, LEIPZIG, Income::Elsewhere, 77_000, 90);
    let granted = working_day_from(cast.days_ago(9));
    cast.wishes.income(
        at(granted, 11, 5),
        account,
        9_000_000,
        ("Loan for the new pavilion · Förderbank Sachsenland".to_owned(), "FB 4417/26".to_owned()),
    );
    let mut dice = cast.dice("cafe's trade");
    let counter_from = cast.days_ago(58);
    let mut day = cast.first;
    while day <= cast.last {
        let yesterday = day.saturating_sub(1.day());
        if yesterday.weekday() != Weekday::Monday {
            let busy = if is_working_day(yesterday) { 100 } else { 185 };
            let amount = dice.between(24_000, 47_000) * busy / 100;
            let text = (
                format!("Card takings {} · Kartenklick Acquiring", yesterday.strftime("%d %b")),
                format!("Terminal 61 / {}", yesterday.strftime("%j")),
            );
            cast.wishes.income(at(day, 5, 10), account, amount, text);
        }
        if day.weekday() == Weekday::Monday && day > counter_from {
            // Left in the night safe on Saturday, counted on Monday: valued as of Saturday.
            let saturday = day.saturating_sub(2.days());
            cast.wishes.counter(
                at(day, 9, 20),
                account,
                dice.between(380, 910) * 100,
                Some(saturday),
                "Night safe bag of Saturday",
            );
        }
        cafe_supplies(cast, &mut dice, day, account);
        cafe_dues(cast, day, (account, home));
        day = day.saturating_add(1.day());
    }
}

/// Coffee, milk and pastry.
fn cafe_supplies(cast: &mut Cast, dice: &mut Dice, day: Date, account: usize) {
    if day.weekday() == Weekday::Thursday {
        let text =
            ("Green coffee · Hafenspeicher Import".to_owned(), format!("RG {}", dice.digits(6)));
        cast.wishes.expense(
            at(day, 10, 40),
            account,
            Amount::Exact(dice.between(48_000, 96_000)),
            text,
        );
    }
    if matches!(day.weekday(), Weekday::Tuesday | Weekday::Friday) {
        let text =
            ("Milk and pastry · Molkerei Auenland".to_owned(), format!("LS {}", dice.digits(5)));
        cast.wishes.expense(
            at(day, 6, 50),
            account,
            Amount::Exact(dice.between(19_000, 38_000)),
            text,
        );
    }
}

/// Lease, drawings and wages.
fn cafe_dues(cast: &mut Cast, day: Date, (account, home): (usize, usize)) {
    if day.day() == 1 {
        let month = month_of(day);
        cast.wishes.expense(
            at(day, 6, 0),
            account,
            Amount::Exact(265_000),
            (format!("Lease {month} · Parkverwaltung Lipsia"), "Pavillon 2".to_owned()),
        );
        cast.wishes.standing(
            at(day, 6, 40),
            (account, home),
            240_000,
            (format!("Drawings {month}"), "Standing order".to_owned()),
        );
    }
    if is_last_working_day(day) {
        let text = (
            format!("Wages {} · payroll file of 4", month_of(day)),
            day.strftime("LOHN-%Y-%m").to_string(),
        );
        cast.wishes.expense(at(day, 7, 30), account, Amount::Exact(512_400), text);
    }
}

/// Two people who are paid in dollars and pay in euros.
pub(super) fn studio(cast: &mut Cast) {
    let firm = cast.company("studio", None, "Nordlicht Software UG", ("Noor", "Haddad"), BERLIN);
    let account = cast.account(firm, business(1_927_440, 0));
    let dollars = cast.account(firm, Wanted { currency: "USD", ..business(840_000, 0) });
    let mut dice = cast.dice("studio's trade");
    let mut day = cast.first;
    while day <= cast.last {
        let month = month_of(day);
        if day.day() == 8 || day.day() == 22 {
            let paid = working_day_from(day);
            let text = (
                format!("App store payout {month} · Orchard Digital"),
                format!("PAYOUT {}", dice.digits(8)),
            );
            cast.wishes.income(at(paid, 4, 55), dollars, dice.between(380_000, 690_000), text);
        }
        if day.day() == 14 {
            cast.wishes.expense(
                at(day, 2, 30),
                dollars,
                Amount::Exact(dice.between(61_000, 88_000)),
                (
                    format!("Cloud hosting {month} · Nimbus Compute"),
                    format!("NC-{}", dice.digits(7)),
                ),
            );
        }
        if day.day() == 24 {
            let changed = working_day_from(day);
            let reference = changed.strftime("FX-%y%m%d").to_string();
            cast.wishes.expense(
                at(changed, 9, 30),
                dollars,
                Amount::Exact(600_000),
                ("Currency exchange USD to EUR".to_owned(), reference.clone()),
            );
            cast.wishes.income(
                at(changed, 9, 31),
                account,
                551_280,
                ("Currency exchange USD to EUR".to_owned(), reference),
            );
        }
        if day.day() == 1 {
            cast.wishes.expense(
                at(day, 6, 0),
                account,
                Amount::Exact(89_000),
                (format!("Office {month} · Kollektivraum Spree"), "Desk 11-12".to_owned()),
            );
        }
        if is_last_working_day(day) {
            cast.wishes.expense(
                at(day, 8, 0),
                account,
                Amount::Exact(398_700),
                (
                    format!("Salaries {month} · payroll file of 2"),
                    day.strftime("LOHN-%Y-%m").to_string(),
                ),
            );
        }
        day = day.saturating_add(1.day());
    }
}
