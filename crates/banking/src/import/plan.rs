//! What the files say, checked and in posting order; what is wrong with them, by line.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    path::Path,
};

use jiff::civil::Date;
use money::{AmountError, Currency, CurrencyError};

use super::{
    ImportMap,
    chain::{Movement, order},
    source::{FileError, Record, Table},
};

/// Something wrong with one line, or with a file as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 for the file as a whole.
    pub line: u64,
    /// The column, where one is at fault.
    pub field: Option<String>,
    /// What is wrong.
    pub message: String,
}

impl Fault {
    pub(crate) fn line(file: &str, line: u64, field: Option<&str>, message: String) -> Self {
        Self { file: file.to_owned(), line, field: field.map(str::to_owned), message }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: ", self.file, self.line)?;
        if let Some(field) = &self.field {
            write!(formatter, "{field}: ")?;
        }
        formatter.write_str(&self.message)
    }
}

/// A customer to make.
#[derive(Clone, Debug)]
pub struct PlannedCustomer {
    /// Its id at the source.
    pub source_id: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Date of birth.
    pub date_of_birth: Option<Date>,
    /// National or tax number.
    pub tax_id: Option<String>,
}

/// An account to open.
#[derive(Clone, Debug)]
pub struct PlannedAccount {
    /// Its id at the source.
    pub source_id: String,
    /// When it was opened.
    pub opened_date: Date,
    /// Its product.
    pub account_type: String,
    /// The customer who owns it, by source id.
    pub owner: String,
    /// The others, by source id, with their roles.
    pub others: Vec<(String, String)>,
    /// How far its history goes below zero, in minor units: the limit it must have had.
    pub overdraft_limit: i64,
}

/// A movement to post.
#[derive(Clone, Debug)]
pub struct PlannedTransaction {
    /// Its id at the source.
    pub source_id: String,
    /// Its account, by source id.
    pub account: String,
    /// Its date.
    pub value_date: Date,
    /// Signed minor units, credit positive.
    pub amount: i64,
    /// The balance published after it.
    pub published: Option<i64>,
    /// Shown to people.
    pub description: String,
    /// The source's own reference.
    pub reference: String,
    /// Its line in the file.
    pub line: u64,
}

/// Everything that can be imported, and everything that cannot.
#[derive(Debug)]
pub struct Plan {
    /// Of all amounts.
    pub currency: Currency,
    /// Rounding of published balances, in minor units.
    pub rounding: i64,
    /// In the file's order.
    pub customers: Vec<PlannedCustomer>,
    /// In the file's order.
    pub accounts: Vec<PlannedAccount>,
    /// By date; within an account and day in the order that its balances tell.
    pub transactions: Vec<PlannedTransaction>,
    /// The date of the last movement where the file ends in the middle of one.
    pub cut_off: Option<Date>,
    /// Lines that cannot be imported.
    pub faults: Vec<Fault>,
}

/// Why there is no plan at all.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file lacks columns that the map names.
    #[error("{file} has no column {columns}")]
    Columns {
        /// The file.
        file: String,
        /// The columns, comma-separated.
        columns: String,
    },
    /// The map's currency or rounding makes no sense.
    #[error("{field}: {message}")]
    Value {
        /// Which.
        field: &'static str,
        /// What is wrong.
        message: String,
    },
}

impl Plan {
    /// Reads all files of the map in `folder`. Touches no database.
    pub fn read(map: &ImportMap, folder: &Path) -> Result<Self, PlanError> {
        let currency: Currency =
            map.currency.parse().map_err(|error: CurrencyError| bad("currency", &error))?;
        let rounding = match &map.rounding {
            Some(text) => minor(text, currency).map_err(|error| bad("rounding", &error))?,
            None => 0,
        };
        let mut faults = Vec::new();
        let mut open = |file: &str, columns: Vec<&str>| -> Result<Table, PlanError> {
            let table = Table::read(folder, file, map.delimiter, &mut faults)?;
            let missing = table.missing(columns);
            if missing.is_empty() {
                return Ok(table);
            }
            Err(PlanError::Columns { file: file.to_owned(), columns: missing.join(", ") })
        };
        let customers = open(&map.customers.file, customer_columns(map))?;
        let accounts =
            open(&map.accounts.file, vec![&map.accounts.id, &map.accounts.opened_date.column])?;
        let parties = &map.parties;
        let links = open(
            &parties.file,
            vec![&parties.id, &parties.customer, &parties.account, &parties.role.column],
        )?;
        let movements = open(&map.transactions.file, transaction_columns(map))?;
        let cut_at = faults
            .iter()
            .filter(|fault| fault.file == map.transactions.file)
            .map(|fault| fault.line)
            .max();

        let mut reading = Reading { map, currency, faults };
        let customers = reading.customers(&customers);
        let mut accounts = reading.accounts(&accounts, &links, &customers);
        let transactions = reading.transactions(&movements, &accounts);
        let faults = reading.faults;
        let cut_off = transactions.iter().max_by_key(|one| one.line).and_then(|last| {
            // A fault behind the last good line: the file ends inside a record.
            cut_at.filter(|&line| line > last.line).map(|_| last.value_date)
        });
        let transactions = in_posting_order(transactions, rounding);
        allow_for_history(&mut accounts, &transactions);
        Ok(Self { currency, rounding, customers, accounts, transactions, cut_off, faults })
    }
}

fn minor(text: &str, currency: Currency) -> Result<i64, AmountError> {
    currency.parse_minor(text)
}

fn bad(field: &'static str, error: &dyn fmt::Display) -> PlanError {
    PlanError::Value { field, message: error.to_string() }
}

fn customer_columns(map: &ImportMap) -> Vec<&str> {
    let customers = &map.customers;
    let mut columns = vec![customers.id.as_str()];
    columns.extend(customers.first_name.columns());
    columns.extend(customers.last_name.columns());
    columns.extend(customers.tax_id.iter().flat_map(|template| template.columns()));
    columns.extend(customers.date_of_birth.iter().map(|date| date.column.as_str()));
    columns
}

fn transaction_columns(map: &ImportMap) -> Vec<&str> {
    let transactions = &map.transactions;
    let mut columns = vec![
        transactions.id.as_str(),
        &transactions.account,
        &transactions.date.column,
        &transactions.direction.column,
        &transactions.amount,
    ];
    columns.extend(transactions.balance.as_deref());
    columns.extend(transactions.description.columns());
    columns.extend(transactions.reference.columns());
    columns
}

/// A reading in progress: every fault is kept, every good record goes on.
struct Reading<'a> {
    map: &'a ImportMap,
    currency: Currency,
    faults: Vec<Fault>,
}

impl Reading<'_> {
    fn customers(&mut self, table: &Table) -> Vec<PlannedCustomer> {
        let map = &self.map.customers;
        let mut seen = HashSet::new();
        let mut planned = Vec::new();
        for record in table.records() {
            let date_of_birth =
                map.date_of_birth.as_ref().map(|column| column.read(record.get(&column.column)));
            let result = new_id(&record, table, &map.id, &mut seen).and_then(|source_id| {
                Ok(PlannedCustomer {
                    source_id,
                    first_name: map.first_name.fill(|column| record.get(column)),
                    last_name: map.last_name.fill(|column| record.get(column)),
                    date_of_birth: date_of_birth.transpose().map_err(|message| {
                        let column = map.date_of_birth.as_ref().map(|date| date.column.as_str());
                        Fault::line(&table.file, record.line, column, message)
                    })?,
                    tax_id: map
                        .tax_id
                        .as_ref()
                        .map(|template| template.fill(|column| record.get(column))),
                })
            });
            self.keep(result, &mut planned);
        }
        planned
    }

    fn accounts(
        &mut self,
        table: &Table,
        links: &Table,
        customers: &[PlannedCustomer],
    ) -> Vec<PlannedAccount> {
        let mut parties = self.parties(links, customers);
        let map = &self.map.accounts;
        let mut seen = HashSet::new();
        let mut planned = Vec::new();
        for record in table.records() {
            let result = new_id(&record, table, &map.id, &mut seen).and_then(|source_id| {
                let fault = |column: &str, message| {
                    Fault::line(&table.file, record.line, Some(column), message)
                };
                let date = &map.opened_date;
                let opened_date = date
                    .read(record.get(&date.column))
                    .map_err(|message| fault(&date.column, message))?;
                let mut others = parties.remove(source_id.as_str()).unwrap_or_default();
                let owner = others.iter().position(|(_, role)| role == "owner");
                let owner = owner
                    .ok_or_else(|| fault(&map.id, format!("account {source_id} has no owner")))?;
                let (owner, _) = others.remove(owner);
                Ok(PlannedAccount {
                    source_id,
                    opened_date,
                    account_type: map.account_type.clone(),
                    owner,
                    others,
                    overdraft_limit: 0,
                })
            });
            self.keep(result, &mut planned);
        }
        for (account, _) in parties {
            let message = format!("account {account} is not in {}", table.file);
            self.faults.push(Fault::line(&links.file, 0, Some(&self.map.parties.account), message));
        }
        planned
    }

    /// Parties by account, each as (customer, role).
    fn parties(
        &mut self,
        table: &Table,
        customers: &[PlannedCustomer],
    ) -> BTreeMap<String, Vec<(String, String)>> {
        let map = &self.map.parties;
        let known: HashSet<&str> =
            customers.iter().map(|customer| customer.source_id.as_str()).collect();
        let mut seen = HashSet::new();
        let mut parties: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for record in table.records() {
            let result = new_id(&record, table, &map.id, &mut seen).and_then(|_| {
                let fault = |column: &str, message| {
                    Fault::line(&table.file, record.line, Some(column), message)
                };
                let customer = record.get(&map.customer);
                if !known.contains(customer) {
                    return Err(fault(&map.customer, format!("customer {customer:?} is unknown")));
                }
                let value = record.get(&map.role.column);
                let role = map.role.values.get(value);
                let role = role.ok_or_else(|| {
                    fault(&map.role.column, format!("{value:?} is not in the map"))
                })?;
                Ok((record.get(&map.account).to_owned(), (customer.to_owned(), role.clone())))
            });
            match result {
                Ok((account, party)) => parties.entry(account).or_default().push(party),
                Err(fault) => self.faults.push(fault),
            }
        }
        parties
    }

    fn transactions(
        &mut self,
        table: &Table,
        accounts: &[PlannedAccount],
    ) -> Vec<PlannedTransaction> {
        let known: HashSet<&str> =
            accounts.iter().map(|account| account.source_id.as_str()).collect();
        let mut seen = HashSet::new();
        let mut planned = Vec::new();
        for record in table.records() {
            let id = new_id(&record, table, &self.map.transactions.id, &mut seen);
            let result =
                id.and_then(|source_id| self.transaction(&record, table, source_id, &known));
            self.keep(result, &mut planned);
        }
        planned
    }

    fn transaction(
        &self,
        record: &Record<'_>,
        table: &Table,
        source_id: String,
        accounts: &HashSet<&str>,
    ) -> Result<PlannedTransaction, Fault> {
        let map = &self.map.transactions;
        let fault =
            |column: &str, message| Fault::line(&table.file, record.line, Some(column), message);
        let account = record.get(&map.account);
        if !accounts.contains(account) {
            return Err(fault(&map.account, format!("account {account:?} is unknown")));
        }
        let value_date = map
            .date
            .read(record.get(&map.date.column))
            .map_err(|message| fault(&map.date.column, message))?;
        let kind = record.get(&map.direction.column);
        let direction = map.direction.values.get(kind).map(String::as_str);
        let amount = minor(record.get(&map.amount), self.currency)
            .map_err(|error| fault(&map.amount, error.to_string()))?;
        if amount <= 0 {
            return Err(fault(&map.amount, "not a positive amount".to_owned()));
        }
        let amount = match direction {
            Some("credit") => amount,
            Some(_) => -amount,
            None => {
                return Err(fault(&map.direction.column, format!("{kind:?} is not in the map")));
            }
        };
        let published = map.balance.as_deref().map(|column| {
            let parsed = minor(record.get(column), self.currency);
            parsed.map_err(|error| fault(column, error.to_string()))
        });
        Ok(PlannedTransaction {
            source_id,
            account: account.to_owned(),
            value_date,
            amount,
            published: published.transpose()?,
            description: map.description.fill(|column| record.get(column)),
            reference: map.reference.fill(|column| record.get(column)),
            line: record.line,
        })
    }

    fn keep<T>(&mut self, result: Result<T, Fault>, planned: &mut Vec<T>) {
        match result {
            Ok(record) => planned.push(record),
            Err(fault) => self.faults.push(fault),
        }
    }
}

/// The record's source id, once.
fn new_id(
    record: &Record<'_>,
    table: &Table,
    column: &str,
    seen: &mut HashSet<String>,
) -> Result<String, Fault> {
    let id = record.get(column);
    let fault = |message: String| Fault::line(&table.file, record.line, Some(column), message);
    if id.is_empty() || id.len() > 64 {
        return Err(fault("an id has 1 to 64 characters".to_owned()));
    }
    if seen.insert(id.to_owned()) {
        Ok(id.to_owned())
    } else {
        Err(fault(format!("{id} stands here twice")))
    }
}

/// Days in turn; within an account's day the order that [`order`] finds.
fn in_posting_order(
    transactions: Vec<PlannedTransaction>,
    rounding: i64,
) -> Vec<PlannedTransaction> {
    let mut days: BTreeMap<Date, BTreeMap<String, Vec<PlannedTransaction>>> = BTreeMap::new();
    for transaction in transactions {
        let accounts = days.entry(transaction.value_date).or_default();
        accounts.entry(transaction.account.clone()).or_default().push(transaction);
    }
    let mut before: HashMap<String, i64> = HashMap::new();
    let mut ordered = Vec::new();
    for (account, day) in days.into_values().flatten() {
        let movements: Vec<Movement> = day
            .iter()
            .map(|one| Movement { amount: one.amount, published: one.published })
            .collect();
        let last = before.entry(account).or_insert(0);
        for at in order(&movements, *last, rounding) {
            *last = movements[at].published.unwrap_or(*last + movements[at].amount);
            ordered.push(day[at].clone());
        }
    }
    ordered
}

/// Gives every account the overdraft that its history shows it had.
fn allow_for_history(accounts: &mut [PlannedAccount], transactions: &[PlannedTransaction]) {
    let mut running: HashMap<&str, (i64, i64)> = HashMap::new();
    for transaction in transactions {
        let (balance, lowest) = running.entry(&transaction.account).or_insert((0, 0));
        *balance += transaction.amount;
        *lowest = (*lowest).min(*balance);
    }
    for account in accounts {
        if let Some((_, lowest)) = running.get(account.source_id.as_str()) {
            account.overdraft_limit = -lowest;
        }
    }
}
