//! Owns how people of the demo spend their days: what comes in at the end of the
//! month, what leaves on its first, and what they buy in between, when and where.

use jiff::ToSpan as _;
use jiff::civil::{Date, Weekday};

use super::dice::Dice;
use super::places::{City, ONLINE, SUBSCRIPTIONS};
use super::play::month_of;
use super::wish::{Amount, Wishes, at};

/// Where the money comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Income {
    /// On the last working day.
    Salary { employer: &'static str, amount: i64 },
    /// On the last working day, too.
    Pension { amount: i64 },
    /// A grant on the first, wages on the fifteenth.
    Student { grant: i64, wages: i64 },
    /// Paid by somebody who banks here as well, or not at all.
    Elsewhere,
}

/// A life on one account.
pub(super) struct Life<'a> {
    pub(super) dice: Dice,
    pub(super) city: &'a City,
    pub(super) account: usize,
    pub(super) income: Income,
    /// Every month.
    pub(super) rent: i64,
    /// How freely they spend, in percent of the usual.
    pub(super) spending: i64,
    /// The last four digits of their card.
    pub(super) card: String,
}

impl Life<'_> {
    /// Wishes for all days from `first` to `last`.
    pub(super) fn live(mut self, (first, last): (Date, Date), wishes: &mut Wishes) {
        let count = usize::try_from(self.dice.between(1, 4)).unwrap_or(1);
        let start = self.dice.between(0, 7);
        let subscriptions: Vec<_> = SUBSCRIPTIONS
            .iter()
            .cycle()
            .skip(usize::try_from(start).unwrap_or(0))
            .take(count)
            .collect();
        let shopping_day = self.dice.pick(&[
            Weekday::Friday,
            Weekday::Saturday,
            Weekday::Saturday,
            Weekday::Thursday,
        ]);
        let grocer = self.dice.pick(self.city.grocers);
        let bakery = self.dice.pick(self.city.bakeries);
        let mandate = self.dice.digits(6);
        let mut day = first;
        while day <= last {
            self.earn(day, wishes);
            self.monthly(day, &subscriptions, &mandate, wishes);
            if day.weekday() == shopping_day {
                self.groceries(day, grocer, wishes);
            }
            self.outing(day, bakery, wishes);
            self.now_and_then(day, wishes);
            day = day.saturating_add(1.day());
        }
    }

    fn earn(&mut self, day: Date, wishes: &mut Wishes) {
        let month = month_of(day);
        let pay_day = is_last_working_day(day);
        match self.income {
            Income::Salary { employer, amount } if pay_day => {
                let text = format!("Salary {month} · {employer}");
                wishes.income(
                    at(day, 4, 30),
                    self.account,
                    amount,
                    (text, day.strftime("LOHN-%Y-%m").to_string()),
                );
            }
            Income::Pension { amount } if pay_day => {
                let text = format!("Pension {month} · Rentenkasse Mitte");
                wishes.income(
                    at(day, 4, 20),
                    self.account,
                    amount,
                    (text, day.strftime("RENTE %m/%Y").to_string()),
                );
            }
            Income::Student { grant, .. } if day.day() == 1 => {
                let text = format!("Student grant {month} · Studierendenwerk");
                wishes.income(
                    at(day, 4, 10),
                    self.account,
                    grant,
                    (text, day.strftime("FOERD-%Y%m").to_string()),
                );
            }
            Income::Student { wages, .. } if day.day() == 15 => {
                let text = format!("Wages {month} · Café Tegernsee");
                wishes.income(
                    at(day, 4, 40),
                    self.account,
                    wages,
                    (text, day.strftime("AUSHILFE-%m").to_string()),
                );
            }
            _ => {}
        }
    }

    fn monthly(
        &mut self,
        day: Date,
        subscriptions: &[&(&str, i64, i8)],
        mandate: &str,
        wishes: &mut Wishes,
    ) {
        let month = month_of(day);
        let mut debit = |hour, minute, amount, text: String, reference: String| {
            wishes.expense(
                at(day, hour, minute),
                self.account,
                Amount::Exact(amount),
                (text, reference),
            );
        };
        if day.day() == 1 && self.rent > 0 {
            debit(
                6,
                0,
                self.rent,
                format!("Rent {month} · {}", self.city.landlord),
                format!("Wohnung {mandate}"),
            );
        }
        if day.day() == 5 && self.rent > 0 {
            let amount = 4_200 + self.rent / 40;
            debit(
                6,
                10,
                amount,
                format!("Electricity and gas · {}", self.city.power),
                format!("SEPA-DD MREF {mandate}"),
            );
        }
        if day.day() == 12 {
            let amount = 1_999 + 500 * i64::from(mandate.len().is_multiple_of(3));
            debit(
                6,
                15,
                amount,
                format!("Mobile and internet {month} · Fernklang Telekom"),
                format!("FK-{mandate}"),
            );
        }
        if day.day() == 16 && self.rent > 60_000 {
            debit(
                6,
                20,
                6_480,
                "Liability and home insurance · Aurora Versicherungs-AG".to_owned(),
                format!("Vertrag {mandate}"),
            );
        }
        for (name, amount, on) in subscriptions {
            if day.day() == *on {
                debit(7, 5, *amount, format!("{name} {month}"), format!("SUB-{mandate}"));
            }
        }
    }

    fn groceries(&mut self, day: Date, grocer: &str, wishes: &mut Wishes) {
        let (hour, minute) = (self.dice.between(10, 18), self.dice.between(0, 59));
        self.card(day, (hour, minute), (3_800, 9_600), grocer, wishes);
    }

    /// Mornings and noons of working days, evenings towards the weekend, Saturdays in
    /// the shops, quiet Sundays.
    fn outing(&mut self, day: Date, bakery: &str, wishes: &mut Wishes) {
        let minute = self.dice.between(0, 59);
        let is_working_day = is_working_day(day);
        let (morning, noon, evening) = match day.weekday() {
            Weekday::Monday | Weekday::Tuesday | Weekday::Wednesday => (26, 24, 6),
            Weekday::Thursday => (26, 24, 20),
            Weekday::Friday => (24, 20, 42),
            Weekday::Saturday => (18, 0, 46),
            Weekday::Sunday => (20, 0, 8),
        };
        if self.dice.chance(morning) {
            let hour =
                if is_working_day { self.dice.between(7, 8) } else { self.dice.between(8, 10) };
            self.card(day, (hour, minute), (280, 1_180), bakery, wishes);
        }
        if self.dice.chance(noon) {
            let place = self.dice.pick(self.city.lunches);
            let hour = self.dice.between(12, 13);
            self.card(day, (hour, self.dice.clone().between(0, 59)), (690, 1_580), place, wishes);
        }
        if self.dice.chance(evening) {
            let place = self.dice.pick(self.city.evenings);
            let hour = self.dice.between(18, 22);
            self.card(day, (hour, minute), (1_450, 7_200), place, wishes);
        }
        if day.weekday() == Weekday::Saturday && self.dice.chance(38) {
            let place = self.dice.pick(self.city.shops);
            let hour = self.dice.between(11, 17);
            self.card(day, (hour, minute), (990, 11_900), place, wishes);
        }
        if day.weekday() == Weekday::Sunday && self.dice.chance(28) {
            let place = self.dice.pick(self.city.sundays);
            let hour = self.dice.between(11, 16);
            self.card(day, (hour, minute), (600, 3_400), place, wishes);
        }
    }

    fn now_and_then(&mut self, day: Date, wishes: &mut Wishes) {
        let minute = self.dice.between(0, 59);
        if self.dice.chance(5) {
            let shop = self.dice.pick(&ONLINE);
            let hour = self.dice.between(19, 22);
            let (amount, order) = (self.price((1_490, 13_900)), self.dice.digits(7));
            let text = (format!("Online purchase · {shop}"), format!("Order {order}"));
            wishes.expense(at(day, hour, minute), self.account, Amount::Exact(amount), text);
        }
        if self.dice.chance(4) {
            let hour = self.dice.between(9, 19);
            let amount = 100 * self.dice.pick(&[20, 40, 50, 50, 80, 100]);
            let text = (
                format!("Cash machine · Hauptbahnhof, {}", self.city.name),
                format!("Card •{}", self.card),
            );
            wishes.cash(at(day, hour, minute), self.account, amount, text);
        }
        if is_working_day(day) && self.dice.chance(7) {
            self.card(day, (8, minute), (320, 1_260), self.city.transit, wishes);
        }
    }

    /// A card in a shop; prices end as prices do.
    fn card(
        &mut self,
        day: Date,
        (hour, minute): (i64, i64),
        range: (i64, i64),
        shop: &str,
        wishes: &mut Wishes,
    ) {
        let amount = self.price(range);
        let text = format!("Card purchase · {shop}, {}", self.city.name);
        let reference = format!("Card •{} · {}", self.card, self.dice.digits(6));
        wishes.expense(
            at(day, hour, minute),
            self.account,
            Amount::Exact(amount),
            (text, reference),
        );
    }

    fn price(&mut self, (low, high): (i64, i64)) -> i64 {
        // The mean of two throws: most prices are in the middle.
        let middle = i64::midpoint(self.dice.between(low, high), self.dice.between(low, high));
        let amount = middle * self.spending / 100;
        let ending = self.dice.pick(&[0, 5, 9, 9, 9, 4, 8]);
        (amount / 10 * 10 + ending).max(100)
    }
}

/// Monday to Friday. Holidays differ by country; the demo's bank has none.
pub(super) fn is_working_day(day: Date) -> bool {
    !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday)
}

/// Whether salaries are paid on this day.
pub(super) fn is_last_working_day(day: Date) -> bool {
    let month = day.month();
    let mut next = day.saturating_add(1.day());
    while next.month() == month {
        if is_working_day(next) {
            return false;
        }
        next = next.saturating_add(1.day());
    }
    is_working_day(day)
}

/// The first working day on or after this one.
pub(super) fn working_day_from(day: Date) -> Date {
    let mut day = day;
    while !is_working_day(day) {
        day = day.saturating_add(1.day());
    }
    day
}
