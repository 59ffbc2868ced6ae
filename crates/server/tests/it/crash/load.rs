//! Owns the load: clients that order transfers under idempotency keys, ask again
//! until they are answered, and remember every answer. It refuses to know what is
//! killed, and when.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::bank::Bank;
use super::client::{Answer, Client, Missing, Request};
use super::plan::Dice;

/// Until when an order must have been answered, whatever was killed meanwhile.
const GIVE_UP: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(40);
/// Orders of a client that are asked for again at its end.
const REPEATED_AT_THE_END: usize = 4;

/// A transfer that was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) id: Uuid,
    pub(crate) from: Uuid,
    pub(crate) to: Uuid,
    pub(crate) amount: i64,
}

/// What clients met, beside what they were told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Met {
    pub(crate) unavailable: usize,
    pub(crate) broken: usize,
    pub(crate) in_flight: usize,
    pub(crate) hung_up: usize,
    pub(crate) replayed: usize,
    pub(crate) slowest: Duration,
}

impl Met {
    fn add(&mut self, other: &Self) {
        self.unavailable += other.unavailable;
        self.broken += other.broken;
        self.in_flight += other.in_flight;
        self.hung_up += other.hung_up;
        self.replayed += other.replayed;
        self.slowest = self.slowest.max(other.slowest);
    }
}

/// What came of a load.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// By idempotency key, which is the transfer's reference as well.
    pub(crate) acknowledged: BTreeMap<String, Acknowledged>,
    /// Answers that the contract does not know, each in words.
    pub(crate) faults: Vec<String>,
    pub(crate) met: Met,
}

impl Outcome {
    pub(crate) fn add(&mut self, other: Self) {
        for (key, told) in other.acknowledged {
            if self.acknowledged.insert(key.clone(), told).is_some() {
                self.faults.push(format!("the harness used the key {key} twice"));
            }
        }
        self.faults.extend(other.faults);
        self.met.add(&other.met);
    }
}

/// One client.
#[derive(Debug)]
pub(crate) struct Worker {
    bank: Bank,
    customer: usize,
    name: String,
    token: String,
    batches: bool,
    dice: Dice,
    client: Client,
    outcome: Outcome,
}

/// One request: a transfer, or several under a key each.
#[derive(Clone, Debug)]
struct Order {
    items: Vec<Item>,
    batch: bool,
}

#[derive(Clone, Debug)]
struct Item {
    key: String,
    from: Uuid,
    to: Uuid,
    amount: i64,
}

impl Worker {
    /// The client `number` of a round; its keys begin with both.
    pub(crate) fn new(
        bank: &Bank,
        (round, number): (u64, usize),
        token: &str,
        (port, batches): (u16, bool),
        dice: Dice,
    ) -> Self {
        Self {
            bank: bank.clone(),
            customer: number % bank.customers.len(),
            name: format!("r{round}-c{number}"),
            token: token.to_owned(),
            batches,
            dice,
            client: Client::new(port),
            outcome: Outcome::default(),
        }
    }

    /// Orders until told to stop; the order under way is still settled.
    pub(crate) async fn work(mut self, stop: CancellationToken) -> Outcome {
        let mut orders = Vec::new();
        while !stop.is_cancelled() && self.outcome.faults.is_empty() {
            let order = self.next_order(orders.len());
            self.settle(&order).await;
            if self.dice.once_in(10) {
                self.settle(&order).await;
            }
            orders.push(order);
        }
        for order in orders.iter().rev().take(REPEATED_AT_THE_END) {
            self.settle(order).await;
        }
        self.outcome
    }

    fn next_order(&mut self, number: usize) -> Order {
        let batch = self.batches && self.dice.once_in(6);
        let count = if batch { 2 + self.dice.below(12) } else { 1 };
        let everybodys = self.bank.accounts();
        let own = &self.bank.customers[self.customer].accounts;
        let items = (0..count).map(|position| {
            let from = own[self.dice.below(own.len())];
            let others: Vec<Uuid> =
                everybodys.iter().copied().filter(|account| *account != from).collect();
            Item {
                key: format!("{}-{number}-{position}", self.name),
                from,
                to: others[self.dice.below(others.len())],
                amount: 1 + i64::try_from(self.dice.below(500)).expect("small"),
            }
        });
        Order { items: items.collect(), batch }
    }

    /// Asks until every transfer of the order is acknowledged.
    async fn settle(&mut self, order: &Order) {
        let request = order.request(&self.token);
        let begun = Instant::now();
        while begun.elapsed() < GIVE_UP {
            if self.dice.once_in(25) {
                self.outcome.met.hung_up += 1;
                let after = self.dice.between_ms(0, 30);
                self.client.send_and_hang_up(&request, after).await;
            }
            match self.client.send(&request).await {
                Ok(answer) => {
                    if self.hear(order, &answer) {
                        return;
                    }
                }
                Err(Missing::Broken(_)) => self.outcome.met.broken += 1,
                Err(Missing::Hung) => {
                    self.outcome.faults.push(format!("no answer in time: {order:?}"));
                    return;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.outcome.faults.push(format!("never answered: {order:?}"));
    }

    /// Takes an answer in; says whether nothing is left to ask.
    fn hear(&mut self, order: &Order, answer: &Answer) -> bool {
        self.outcome.met.slowest = self.outcome.met.slowest.max(answer.took);
        match (answer.status, order.batch) {
            (201, false) => {
                if answer.header("idempotency-replayed") == "true" {
                    self.outcome.met.replayed += 1;
                }
                self.note(&order.items[0], &answer.body)
            }
            (200, true) => self.hear_each(order, answer),
            (503, _) => {
                self.outcome.met.unavailable += 1;
                self.outcome.faults.extend(answer.faults_of_unavailable());
                false
            }
            (409, _) if answer.code() == "idempotency_in_flight" => {
                self.outcome.met.in_flight += 1;
                false
            }
            _ => {
                self.outcome.faults.push(format!("{order:?} was answered {answer:?}"));
                true
            }
        }
    }

    fn hear_each(&mut self, order: &Order, answer: &Answer) -> bool {
        let results = answer.body["results"].as_array().cloned().unwrap_or_default();
        if results.len() != order.items.len() {
            self.outcome.faults.push(format!("{order:?} was answered {answer:?}"));
            return true;
        }
        let mut settled = true;
        for (item, result) in order.items.iter().zip(&results) {
            match result["status"].as_u64() {
                Some(201) => _ = self.note(item, &result["transfer"]),
                Some(503 | 409) => settled = false,
                _ => self.outcome.faults.push(format!("{item:?} was answered {result}")),
            }
        }
        settled
    }

    /// Remembers what was acknowledged, and finds what was acknowledged otherwise before.
    fn note(&mut self, item: &Item, transfer: &Value) -> bool {
        let id = transfer["id"].as_str().and_then(|id| id.parse().ok());
        let Some(id) = id.filter(|_| transfer["amount"] == json!(item.amount)) else {
            self.outcome.faults.push(format!("{item:?} was answered {transfer}"));
            return true;
        };
        let told = Acknowledged { id, from: item.from, to: item.to, amount: item.amount };
        match self.outcome.acknowledged.insert(item.key.clone(), told.clone()) {
            Some(before) if before != told => {
                let fault =
                    format!("{} was acknowledged as {before:?}, then as {told:?}", item.key);
                self.outcome.faults.push(fault);
            }
            _ => {}
        }
        true
    }
}

impl Order {
    fn request(&self, token: &str) -> Request {
        if !self.batch {
            let item = &self.items[0];
            return Request::post("/v1/transfers", Some(token), Some(&item.key), item.body());
        }
        let transfers: Vec<Value> = self
            .items
            .iter()
            .map(|item| {
                let mut body = item.body();
                body["idempotency_key"] = json!(item.key);
                body
            })
            .collect();
        Request::post("/v1/transfers/batch", Some(token), None, json!({ "transfers": transfers }))
    }
}

impl Item {
    fn body(&self) -> Value {
        json!({
            "from_account_id": self.from, "to_account_id": self.to, "amount": self.amount,
            "currency": "EUR", "description": "Under fire", "reference": self.key,
        })
    }
}

/// Whether the server takes batches; asked of its own document.
pub(crate) async fn takes_batches(port: u16) -> bool {
    let answer = Client::new(port).send(&Request::get("/openapi.json", None)).await.unwrap();
    assert_eq!(answer.status, 200);
    answer.body["paths"]["/v1/transfers/batch"]["post"].is_object()
}
