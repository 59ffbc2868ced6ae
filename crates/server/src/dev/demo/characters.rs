//! Owns the people of the demo who have a login or a story of their own: whoever
//! looks around finds a household, a pensioner, a student, a couple, three small
//! businesses, an account that is frozen, one that is closed, one that sleeps and
//! one that is overdrawn.

use banking::{PartyRole, TransferKind};
use jiff::ToSpan as _;
use jiff::civil::Weekday;
use ledger::InternalAccount;

use super::cast::{Cast, Wanted, checking, savings};
use super::life::{Income, is_last_working_day, working_day_from};
use super::plan::Side;
use super::play::month_of;
use super::trade;
use super::wish::{Amount, at};

const KOELN: usize = 0;
const HAMBURG: usize = 1;
const BERLIN: usize = 2;
const LEIPZIG: usize = 3;

/// Everybody comes in; the first customer first.
pub(super) fn enter(cast: &mut Cast) {
    katharina(cast);
    let ada = ada(cast);
    bela(cast);
    chiara(cast, ada);
    dmitri(cast);
    couple(cast);
    let journeymen = journeymen(cast);
    trade::workshop(cast, journeymen);
    trade::cafe(cast);
    trade::studio(cast);
    closed(cast);
    dormant(cast);
    overdrawn(cast);
    abroad(cast);
}

/// The login `customer`: a salary, a flat, a weekly habit of saving.
fn katharina(cast: &mut Cast) {
    let person =
        cast.person("katharina", Some("customer"), ("Katharina", "Lindqvist"), KOELN, (1987, 1992));
    let current = cast.account(person, checking(241_833, 100_000));
    let saved = cast.account(person, savings(642_500, 150));
    cast.live(
        current,
        KOELN,
        Income::Salary { employer: "Lumen Optik GmbH", amount: 318_742 },
        98_500,
        92,
    );
    // Saved every week by the bank's own run, so that there are ten entries long before ninety days are over.
    let mut day = cast.first;
    while day <= cast.last {
        if day.weekday() == Weekday::Monday {
            let text = ("Savings plan Stockholm".to_owned(), "Standing order".to_owned());
            cast.wishes.standing(at(day, 6, 30), (current, saved), 4_000, text);
        }
        day = day.saturating_add(1.day());
    }
    correction(cast, current);
    cast.wishes.reversal(at(working_day_from(cast.days_ago(13)), 16, 52), saved);
}

/// A fee that was taken in error, given back as of the day it was taken.
fn correction(cast: &mut Cast, account: usize) {
    let fee_day = cast.days_ago(40).first_of_month();
    let noticed = at(working_day_from(fee_day.saturating_add(9.days())), 11, 20);
    let sides = (Side::Bank(InternalAccount::Fees), Side::Account(account));
    let text =
        format!("Correction · account fee {} waived", month_of(fee_day.saturating_sub(1.day())));
    let text = (text, "Complaint C-2041".to_owned());
    cast.wishes.back_dated(noticed, TransferKind::Fee, sides, (490, fee_day), text);
}

/// Writes software, for a customer in America as well.
fn ada(cast: &mut Cast) -> usize {
    let person = cast.person("ada", Some("ada"), ("Adaeze", "Okonkwo"), BERLIN, (1989, 1995));
    let current = cast.account(person, checking(385_210, 200_000));
    let saved = cast.account(person, savings(1_480_000, 150));
    let dollars = cast.account(person, Wanted { currency: "USD", ..checking(212_000, 0) });
    cast.live(
        current,
        BERLIN,
        Income::Salary { employer: "Pixelhafen Studios GmbH", amount: 428_019 },
        124_000,
        118,
    );
    cast.monthly(2, (current, saved), 60_000, ("Savings plan", "Standing order"));
    let mut day = cast.first;
    while day <= cast.last {
        if day.day() == 20 {
            let paid = at(working_day_from(day), 9, 12);
            let text = format!("Consulting {} · Bluebird Analytics Inc.", month_of(day));
            cast.wishes.income(
                paid,
                dollars,
                140_000,
                (text, day.strftime("INV-BB-%Y%m").to_string()),
            );
        }
        if day.day() == 23 {
            let text =
                ("Cloud servers · Nimbus Compute".to_owned(), day.strftime("NC-%Y-%m").to_string());
            cast.wishes.expense(at(day, 3, 40), dollars, Amount::Exact(8_734), text);
        }
        day = day.saturating_add(1.day());
    }
    let evening = at(cast.days_ago(17), 21, 14);
    cast.wishes.ordered(
        evening,
        person,
        (saved, current),
        Amount::Exact(120_000),
        text("New laptop", ""),
    );
    current
}

/// Lives on a pension, and fetches it at the counter.
fn bela(cast: &mut Cast) {
    let person = cast.person("bela", Some("bela"), ("Béla", "Szabó"), LEIPZIG, (1947, 1954));
    let current = cast.account(person, checking(186_420, 0));
    let saved = cast.account(person, savings(2_315_000, 125));
    cast.live(current, LEIPZIG, Income::Pension { amount: 168_450 }, 54_000, 48);
    cast.monthly(3, (current, saved), 10_000, ("For the grandchildren", "Standing order"));
    let days: Vec<_> =
        cast.login_days().filter(|day| day.weekday() == Weekday::Tuesday).step_by(2).collect();
    for day in days {
        cast.wishes.counter(at(day, 10, 15), current, -20_000, None, "Cash at the counter");
    }
}

/// Studies, works in a café, and sometimes wants more than there is.
fn chiara(cast: &mut Cast, lender: usize) {
    let person = cast.person("chiara", Some("chiara"), ("Chiara", "Moretti"), BERLIN, (2001, 2005));
    let current = cast.account(person, checking(48_215, 20_000));
    let pot = cast.account(person, savings(61_000, 75));
    cast.live(current, BERLIN, Income::Student { grant: 85_500, wages: 48_600 }, 39_000, 46);
    cast.wishes.in_vain(
        at(cast.days_ago(26), 23, 41),
        person,
        (current, lender),
        480_000,
        "Deposit for the new flat",
    );
    cast.wishes.ordered(
        at(cast.days_ago(26), 23, 44),
        person,
        (pot, current),
        Amount::Exact(20_000),
        text("From the pot", ""),
    );
    cast.wishes.ordered(
        at(cast.days_ago(9), 18, 5),
        person,
        (current, lender),
        Amount::Exact(1_850),
        text("Concert tickets, thanks!", ""),
    );
}

/// Has savings that a court has frozen, and tries to reach them.
fn dmitri(cast: &mut Cast) {
    let person = cast.person("dmitri", Some("dmitri"), ("Dmitri", "Volkov"), HAMBURG, (1976, 1986));
    let current = cast.account(person, checking(129_960, 50_000));
    let frozen = cast.account(person, savings(875_000, 100));
    cast.live(
        current,
        HAMBURG,
        Income::Salary { employer: "Kontor Logistik SE", amount: 261_180 },
        79_000,
        84,
    );
    cast.monthly(2, (current, frozen), 15_000, ("Savings plan", "Standing order"));
    cast.wishes.freeze(at(working_day_from(cast.days_ago(23)), 9, 42), frozen);
    cast.wishes.in_vain(
        at(cast.days_ago(19), 22, 17),
        person,
        (frozen, current),
        400_000,
        "Own transfer",
    );
}

/// Two people, an account each and one together.
fn couple(cast: &mut Cast) {
    let emma = cast.person("emma", Some("emma"), ("Emma", "Dupont"), HAMBURG, (1984, 1990));
    let farid = cast.person("farid", Some("farid"), ("Farid", "Rahimi"), HAMBURG, (1984, 1990));
    let own = cast.account(emma, checking(164_300, 100_000));
    let his = cast.account(farid, checking(139_875, 100_000));
    let joint = cast.account(emma, checking(182_050, 100_000));
    cast.party(joint, farid, PartyRole::JointOwner);
    let saved = cast.account(emma, savings(934_000, 150));
    cast.party(saved, farid, PartyRole::JointOwner);
    cast.live(
        own,
        HAMBURG,
        Income::Salary { employer: "Klinikum am Stadtwald", amount: 287_655 },
        0,
        66,
    );
    cast.live(
        his,
        HAMBURG,
        Income::Salary { employer: "Schulamt Nordwest", amount: 305_410 },
        0,
        58,
    );
    cast.live(joint, HAMBURG, Income::Elsewhere, 128_000, 84);
    cast.monthly(1, (own, joint), 120_000, ("Household Emma", "Standing order"));
    cast.monthly(1, (his, joint), 130_000, ("Household Farid", "Standing order"));
    cast.monthly(6, (joint, saved), 25_000, ("Holiday in Marseille", "Standing order"));
    cast.wishes.ordered(
        at(cast.days_ago(31), 20, 8),
        farid,
        (his, own),
        Amount::Exact(6_480),
        text("Half of the birthday dinner", ""),
    );
    cast.wishes.ordered(
        at(cast.days_ago(12), 19, 26),
        emma,
        (own, his),
        Amount::Exact(3_250),
        text("Theatre", ""),
    );
}

/// Work for the workshop; one of them keeps its books and may use its account.
fn journeymen(cast: &mut Cast) -> [(usize, usize); 2] {
    let hugo = cast.person("hugo", Some("hugo"), ("Hugo", "Almeida"), KOELN, (1978, 1987));
    let hugo_account = cast.account(hugo, checking(204_470, 100_000));
    cast.live(hugo_account, KOELN, Income::Elsewhere, 81_000, 88);
    let sanne = cast.person("sanne", None, ("Sanne", "de Vries"), KOELN, (1993, 2000));
    let sanne_account = cast.account(sanne, checking(97_125, 50_000));
    cast.live(sanne_account, KOELN, Income::Elsewhere, 69_000, 79);
    [(hugo, hugo_account), (sanne, sanne_account)]
}

/// Took everything out and left the bank's savings behind.
fn closed(cast: &mut Cast) {
    let person =
        cast.person("margarethe", None, ("Margarethe", "von Ahlen"), HAMBURG, (1944, 1953));
    let current = cast.account(person, checking(312_700, 0));
    let old = cast.account(person, savings(489_318, 0));
    cast.live(current, HAMBURG, Income::Pension { amount: 214_300 }, 88_000, 74);
    let day = working_day_from(cast.days_ago(34));
    let sides = (Side::Account(old), Side::Account(current));
    cast.wishes.add(
        at(day, 10, 5),
        TransferKind::Transfer,
        sides,
        Amount::All,
        text("Closing of the savings account", "Notice of 3 months"),
    );
    cast.wishes.close(at(day, 10, 31), old);
}

/// Nobody has touched it for years.
fn dormant(cast: &mut Cast) {
    let person = cast.person("wilhelm", None, ("Wilhelm", "Tiedemann"), LEIPZIG, (1936, 1945));
    let account = cast.account(person, savings(131_240, 0));
    cast.accounts[account].opened = cast.first.saturating_sub(4_380.days());
}

/// Ends below zero, whatever the day of the month.
fn overdrawn(cast: &mut Cast) {
    let person = cast.person("tomas", None, ("Tomás", "Ferreira"), BERLIN, (1979, 1991));
    let account = cast.account(person, checking(38_410, 150_000));
    cast.live(
        account,
        BERLIN,
        Income::Salary { employer: "Hafenwerke GmbH", amount: 206_930 },
        86_000,
        112,
    );
    let repair = text("Car repair · Werkstatt Kolben & Ventil", "Invoice 20817");
    cast.wishes.expense(at(cast.days_ago(52), 14, 20), account, Amount::DownTo(-31_875), repair);
    let deposit = text("Rental deposit · Havel Wohnen", "Kaution Whg 14");
    cast.wishes.expense(at(cast.days_ago(1), 13, 40), account, Amount::DownTo(-68_420), deposit);
}

/// Came from London, is paid in pounds, and lives in euros.
fn abroad(cast: &mut Cast) {
    let person = cast.person("imogen", None, ("Imogen", "Fairweather"), BERLIN, (1988, 1996));
    let pounds = cast.account(person, Wanted { currency: "GBP", ..checking(318_000, 0) });
    let current = cast.account(person, checking(452_000, 0));
    cast.live(current, BERLIN, Income::Elsewhere, 92_000, 41);
    let mut day = cast.first;
    while day <= cast.last {
        if is_last_working_day(day) {
            let paid = format!("Salary {} · Marlowe & Finch Ltd", month_of(day));
            cast.wishes.income(
                at(day, 5, 2),
                pounds,
                241_700,
                (paid, day.strftime("PAYROLL %b %Y").to_string()),
            );
            let changed = working_day_from(day.saturating_add(1.day()));
            let reference = changed.strftime("FX-%y%m%d").to_string();
            cast.wishes.expense(
                at(changed, 9, 30),
                pounds,
                Amount::Exact(180_000),
                ("Currency exchange GBP to EUR".to_owned(), reference.clone()),
            );
            cast.wishes.income(
                at(changed, 9, 31),
                current,
                209_340,
                ("Currency exchange GBP to EUR".to_owned(), reference),
            );
        }
        day = day.saturating_add(1.day());
    }
}

fn text(description: &str, reference: &str) -> (String, String) {
    (description.to_owned(), reference.to_owned())
}
