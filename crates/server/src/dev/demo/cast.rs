//! Owns who is in the demo: the people with a login, whose lives are told by hand,
//! and the others, who follow from the seed.

use std::collections::HashSet;

use banking::{AccountType, CustomerType, PartyRole, PersonalData, TransferKind};
use jiff::ToSpan as _;
use jiff::civil::{Date, date};
use ledger::InternalAccount;

use super::characters;
use super::dice::Dice;
use super::life::{Income, Life};
use super::places::{CITIES, CULTURES, EMPLOYERS, plain_letters};
use super::plan::{HISTORY_DAYS, LOGIN_DAYS, Person, Plan, PlannedAccount, Side};
use super::play::play;
use super::wish::{Amount, Wishes, at};

/// People without a login.
const CROWD: usize = 46;

/// A demo in the making.
pub(super) struct Cast {
    pub(super) seed: u64,
    /// The first day of history.
    pub(super) first: Date,
    /// The last one: yesterday.
    pub(super) last: Date,
    pub(super) people: Vec<Person>,
    pub(super) accounts: Vec<PlannedAccount>,
    pub(super) wishes: Wishes,
    addresses: HashSet<String>,
    names: HashSet<(&'static str, &'static str)>,
}

/// An account that is to be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) account_type: AccountType,
    pub(super) currency: &'static str,
    /// Carried forward on the first day, minor units.
    pub(super) balance: i64,
    pub(super) overdraft_limit: i64,
    pub(super) rate_basis_points: i64,
}

/// For daily payments.
pub(super) const fn checking(balance: i64, overdraft_limit: i64) -> Wanted {
    Wanted {
        account_type: AccountType::Checking,
        currency: "EUR",
        balance,
        overdraft_limit,
        rate_basis_points: 0,
    }
}

/// Bears interest.
pub(super) const fn savings(balance: i64, rate_basis_points: i64) -> Wanted {
    Wanted {
        account_type: AccountType::Savings,
        currency: "EUR",
        balance,
        overdraft_limit: 0,
        rate_basis_points,
    }
}

/// Of a business.
pub(super) const fn business(balance: i64, overdraft_limit: i64) -> Wanted {
    Wanted {
        account_type: AccountType::Business,
        currency: "EUR",
        balance,
        overdraft_limit,
        rate_basis_points: 0,
    }
}

/// The demo of a seed as it is on a business day. The same seed gives the same
/// people, amounts and days before today.
pub(super) fn plan(seed: u64, today: Date) -> Plan {
    let first = today.saturating_sub(HISTORY_DAYS.days());
    let last = today.saturating_sub(1.day());
    let mut cast = Cast {
        seed,
        first,
        last,
        people: Vec::new(),
        accounts: Vec::new(),
        wishes: Wishes::default(),
        addresses: HashSet::new(),
        names: HashSet::new(),
    };
    characters::enter(&mut cast);
    for number in 0..CROWD {
        cast.stranger(number);
    }
    let steps = play(&cast.accounts, cast.wishes, (first, last));
    Plan { people: cast.people, accounts: cast.accounts, steps }
}

impl Cast {
    /// A stream of chance of one's own.
    pub(super) fn dice(&self, name: &str) -> Dice {
        Dice::new(self.seed, name)
    }

    /// So many days before today.
    pub(super) fn days_ago(&self, days: i64) -> Date {
        self.last.saturating_add(1.day()).saturating_sub(days.days())
    }

    /// The days on which people with a login order something themselves.
    pub(super) fn login_days(&self) -> impl Iterator<Item = Date> + use<> {
        let (mut day, last) = (self.days_ago(LOGIN_DAYS - 2), self.last);
        std::iter::from_fn(move || {
            let this = day;
            day = day.saturating_add(1.day());
            (this <= last).then_some(this)
        })
    }

    /// A person, born in one of some years.
    pub(super) fn person(
        &mut self,
        key: &str,
        username: Option<&'static str>,
        name: (&'static str, &'static str),
        city: usize,
        born: (i64, i64),
    ) -> usize {
        self.names.insert(name);
        let mut dice = self.dice(key);
        let email = self.address(&format!("{}.{}", plain_letters(name.0), plain_letters(name.1)));
        let born = date(
            i16::try_from(dice.between(born.0, born.1)).unwrap_or(1980),
            i8::try_from(dice.between(1, 12)).unwrap_or(1),
            i8::try_from(dice.between(1, 28)).unwrap_or(1),
        );
        let personal = PersonalData {
            first_name: Some(name.0.to_owned()),
            last_name: Some(name.1.to_owned()),
            company_name: None,
            email: Some(email),
            phone: Some(format!("{}{}", CITIES[city].phone, dice.digits(3))),
            date_of_birth: Some(born),
            // Numbers that begin with a zero are given to nobody.
            tax_id: Some(format!(
                "0{} {:03} {} {}",
                dice.digits(1),
                self.people.len(),
                dice.digits(3),
                dice.digits(3)
            )),
        };
        self.record(key, username, CustomerType::Individual, personal)
    }

    /// A company, and whom to talk to there.
    pub(super) fn company(
        &mut self,
        key: &str,
        username: Option<&'static str>,
        name: &str,
        contact: (&str, &str),
        city: usize,
    ) -> usize {
        let mut dice = self.dice(key);
        let email = self.address("kontor");
        let domain = plain_letters(name.split(' ').next().unwrap_or(key));
        let personal = PersonalData {
            first_name: Some(contact.0.to_owned()),
            last_name: Some(contact.1.to_owned()),
            company_name: Some(name.to_owned()),
            email: Some(email.replace("@example.com", &format!("@{domain}.example.com"))),
            phone: Some(format!("{}{}", CITIES[city].phone, dice.digits(3))),
            date_of_birth: None,
            tax_id: Some(format!("DE000{:03}{}", self.people.len(), dice.digits(3))),
        };
        self.record(key, username, CustomerType::Business, personal)
    }

    fn record(
        &mut self,
        key: &str,
        username: Option<&'static str>,
        customer_type: CustomerType,
        personal: PersonalData,
    ) -> usize {
        self.people.push(Person { key: key.to_owned(), username, customer_type, personal });
        self.people.len() - 1
    }

    fn address(&mut self, local: &str) -> String {
        let mut address = format!("{local}@example.com");
        let mut number = 2;
        while !self.addresses.insert(address.clone()) {
            address = format!("{local}{number}@example.com");
            number += 1;
        }
        address
    }

    /// An account, opened before the history begins, with what was on it.
    pub(super) fn account(&mut self, owner: usize, wanted: Wanted) -> usize {
        let number = self.accounts.len();
        let key = format!("account-{number:03}");
        let opened_days = self.dice(&key).between(120, 2_200);
        self.accounts.push(PlannedAccount {
            key,
            owner,
            others: Vec::new(),
            account_type: wanted.account_type,
            currency: wanted.currency,
            overdraft_limit: wanted.overdraft_limit,
            rate_basis_points: wanted.rate_basis_points,
            opened: self.first.saturating_sub(opened_days.days()),
        });
        let sides = (Side::Bank(InternalAccount::OpeningBalance), Side::Account(number));
        let text = ("Balance carried forward".to_owned(), String::new());
        self.wishes.add(
            at(self.first, 0, 5),
            TransferKind::Import,
            sides,
            Amount::Exact(wanted.balance),
            text,
        );
        number
    }

    /// A further party of an account.
    pub(super) fn party(&mut self, account: usize, person: usize, role: PartyRole) {
        self.accounts[account].others.push((person, role));
    }

    /// An everyday life on an account.
    pub(super) fn live(
        &mut self,
        account: usize,
        city: usize,
        income: Income,
        rent: i64,
        spending: i64,
    ) {
        let mut dice = self.dice(&format!("life {account}"));
        let card = dice.digits(4);
        let life = Life { dice, city: &CITIES[city], account, income, rent, spending, card };
        life.live((self.first, self.last), &mut self.wishes);
    }

    /// A standing order on a day of each month, or the next working day.
    pub(super) fn monthly(
        &mut self,
        day_of_month: i8,
        accounts: (usize, usize),
        amount: i64,
        text: (&str, &str),
    ) {
        let mut day = self.first;
        while day <= self.last {
            if day.day() == day_of_month {
                let booked = super::life::working_day_from(day);
                self.wishes.standing(
                    at(booked, 6, 30),
                    accounts,
                    amount,
                    (text.0.to_owned(), text.1.to_owned()),
                );
            }
            day = day.saturating_add(1.day());
        }
    }

    /// Somebody without a login.
    fn stranger(&mut self, number: usize) {
        let mut dice = self.dice(&format!("stranger {number}"));
        let culture = &CULTURES[usize::try_from(dice.between(0, 7)).unwrap_or(0)];
        let mut name = (dice.pick(culture.first), dice.pick(culture.last));
        while self.names.contains(&name) {
            name = (dice.pick(culture.first), dice.pick(culture.last));
        }
        let born = match number % 9 {
            0 | 5 => (1941, 1958),
            3 => (1999, 2007),
            _ => (1963, 2001),
        };
        let city = usize::try_from(dice.between(0, 3)).unwrap_or(0);
        let person = self.person(&format!("stranger-{number:02}"), None, name, city, born);
        let (income, rent, spending, start) = match number % 9 {
            0 | 5 => (
                Income::Pension { amount: dice.between(1_190, 1_980) * 100 },
                dice.between(480, 720) * 100,
                62,
                dice.between(900, 4_800),
            ),
            3 => (
                Income::Student { grant: 85_500, wages: dice.between(380, 538) * 100 },
                dice.between(310, 410) * 100,
                45,
                dice.between(350, 900),
            ),
            _ => {
                let amount = dice.between(2_050, 4_650) * 100 + dice.between(0, 99);
                (
                    Income::Salary { employer: dice.pick(&EMPLOYERS), amount },
                    amount / 100 * dice.between(26, 34) / 100 * 100,
                    dice.between(70, 125),
                    dice.between(700, 5_200),
                )
            }
        };
        let limit = dice.pick(&[0, 0, 50_000, 100_000, 200_000]);
        let current = self.account(person, checking(start * 100 + dice.between(0, 99), limit));
        self.live(current, city, income, rent, spending);
        if dice.chance(58) {
            let start = dice.between(400, 18_500) * 100;
            let saved = self.account(person, savings(start, dice.pick(&[75, 100, 125, 150])));
            let amount = dice.pick(&[2_500, 5_000, 10_000, 15_000, 20_000]);
            self.monthly(2, (current, saved), amount, ("Savings plan", "Standing order"));
        }
        if dice.chance(9) {
            let start = dice.between(200, 3_800) * 100;
            let currency = dice.pick(&["USD", "GBP", "CHF"]);
            self.account(person, Wanted { currency, ..savings(start, 0) });
        }
    }
}
