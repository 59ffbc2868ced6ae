//! Owns the load: clients that move money under idempotency keys (transfers, batches of
//! them, cash at the counter, holds that are captured or let go), ask again until they are
//! answered, and remember every answer. It refuses to know what is killed, and when.

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

/// A movement that was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) id: Uuid,
    pub(crate) from: Uuid,
    pub(crate) to: Uuid,
    pub(crate) amount: i64,
}

/// A hold that was acknowledged, and ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Promised {
    pub(crate) id: Uuid,
    /// What was paid out of it; nothing where it was let go.
    pub(crate) captured: i64,
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
    /// By the key under which it was authorised and ended, which is its reference as well.
    pub(crate) promised: BTreeMap<String, Promised>,
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
        self.promised.extend(other.promised);
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
    /// The officer's token, where cash and holds are to move as well.
    counter: Option<String>,
    batches: bool,
    dice: Dice,
    client: Client,
    outcome: Outcome,
}

/// What a client wants done.
#[derive(Clone, Debug)]
enum Order {
    Transfer(Item),
    /// Several transfers in one request, under a key each.
    Batch(Vec<Item>),
    /// Cash in, from the bank's cash account.
    Deposit {
        item: Item,
        counter: String,
    },
    /// Kept back, and then paid out in one part or let go: two requests under one key.
    Hold {
        item: Item,
        captured: Option<i64>,
        counter: String,
    },
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
            counter: None,
            batches,
            dice,
            client: Client::new(port),
            outcome: Outcome::default(),
        }
    }

    /// Has cash and holds move as well, which takes an officer's token.
    pub(crate) fn with_counter(mut self, token: &str) -> Self {
        self.counter = Some(token.to_owned());
        self
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
        if self.batches && self.dice.once_in(6) {
            let count = 2 + self.dice.below(12);
            return Order::Batch((0..count).map(|at| self.item(number, at)).collect());
        }
        let item = self.item(number, 0);
        let Some(counter) = self.counter.clone() else { return Order::Transfer(item) };
        if self.dice.once_in(8) {
            let item = Item { from: self.bank.cash, to: item.from, ..item };
            return Order::Deposit { item, counter };
        }
        if self.dice.once_in(4) {
            let whole = usize::try_from(item.amount).expect("small");
            let part = 1 + i64::try_from(self.dice.below(whole)).expect("small");
            let captured = (!self.dice.once_in(3)).then_some(part);
            return Order::Hold { item, captured, counter };
        }
        Order::Transfer(item)
    }

    fn item(&mut self, number: usize, position: usize) -> Item {
        let own = &self.bank.customers[self.customer].accounts;
        let from = own[self.dice.below(own.len())];
        let others: Vec<Uuid> =
            self.bank.accounts().into_iter().filter(|account| *account != from).collect();
        Item {
            key: format!("{}-{number}-{position}", self.name),
            from,
            to: others[self.dice.below(others.len())],
            amount: 1 + i64::try_from(self.dice.below(500)).expect("small"),
        }
    }

    /// Asks until all of the order is acknowledged.
    async fn settle(&mut self, order: &Order) {
        match order {
            Order::Transfer(item) => {
                let request = item.transfer(&self.token);
                if let Some(answer) = self.answered(&request, 201).await {
                    self.note(item, &answer.body["id"], &answer.body["amount"], item.amount);
                }
            }
            Order::Batch(items) => self.settle_batch(items).await,
            Order::Deposit { item, counter } => {
                let request = item.deposit(counter);
                if let Some(answer) = self.answered(&request, 201).await {
                    self.note(item, &answer.body["id"], &answer.body["amount"], item.amount);
                }
            }
            Order::Hold { item, captured, counter } => {
                self.settle_hold(item, *captured, counter).await;
            }
        }
    }

    async fn settle_hold(&mut self, item: &Item, captured: Option<i64>, counter: &str) {
        let Some(made) = self.answered(&item.hold(&self.token), 201).await else { return };
        let Some(id) = made.body["id"].as_str().and_then(|id| id.parse().ok()) else {
            self.outcome.faults.push(format!("{item:?} was answered {made:?}"));
            return;
        };
        let request = item.end_of_hold(counter, id, captured);
        let Some(ended) = self.answered(&request, 200).await else { return };
        if let Some(amount) = captured {
            let (id, paid) = (&ended.body["last_transfer_id"], &ended.body["captured_amount"]);
            self.note(item, id, paid, amount);
        }
        let told = Promised { id, captured: captured.unwrap_or_default() };
        let before = self.outcome.promised.insert(item.key.clone(), told.clone());
        if let Some(before) = before.filter(|before| *before != told) {
            let fault = format!("{} was acknowledged as {before:?}, then as {told:?}", item.key);
            self.outcome.faults.push(fault);
        }
    }

    /// A batch is answered 200 whatever became of its items: those that were not to be had
    /// are asked for again with the rest.
    async fn settle_batch(&mut self, items: &[Item]) {
        let request = batch(items, &self.token);
        let begun = Instant::now();
        while begun.elapsed() < GIVE_UP {
            let Some(answer) = self.answered(&request, 200).await else { return };
            if self.hear_each(items, &answer) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.outcome.faults.push(format!("never answered: {items:?}"));
    }

    /// Asks until there is the answer; none where something was wrong with it.
    async fn answered(&mut self, request: &Request, expected: u16) -> Option<Answer> {
        let begun = Instant::now();
        while begun.elapsed() < GIVE_UP {
            if self.dice.once_in(25) {
                self.outcome.met.hung_up += 1;
                let after = self.dice.between_ms(0, 30);
                self.client.send_and_hang_up(request, after).await;
            }
            match self.client.send(request).await {
                Ok(answer) if answer.status == expected => {
                    self.outcome.met.slowest = self.outcome.met.slowest.max(answer.took);
                    let replayed = answer.header("idempotency-replayed") == "true";
                    self.outcome.met.replayed += usize::from(replayed);
                    return Some(answer);
                }
                Ok(answer) => {
                    if !self.is_to_be_repeated(&answer) {
                        self.outcome.faults.push(format!("{request:?} was answered {answer:?}"));
                        return None;
                    }
                }
                Err(Missing::Broken(_)) => self.outcome.met.broken += 1,
                Err(Missing::Hung) => {
                    self.outcome.faults.push(format!("no answer in time: {request:?}"));
                    return None;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.outcome.faults.push(format!("never answered: {request:?}"));
        None
    }

    /// Whether an answer says to come back, as the contract lets it.
    fn is_to_be_repeated(&mut self, answer: &Answer) -> bool {
        self.outcome.met.slowest = self.outcome.met.slowest.max(answer.took);
        match answer.status {
            503 => {
                self.outcome.met.unavailable += 1;
                self.outcome.faults.extend(answer.faults_of_unavailable());
                true
            }
            409 if answer.code() == "idempotency_in_flight" => {
                self.outcome.met.in_flight += 1;
                true
            }
            _ => false,
        }
    }

    fn hear_each(&mut self, items: &[Item], answer: &Answer) -> bool {
        let results = answer.body["results"].as_array().cloned().unwrap_or_default();
        if results.len() != items.len() {
            self.outcome.faults.push(format!("{items:?} was answered {answer:?}"));
            return true;
        }
        let mut settled = true;
        for (item, result) in items.iter().zip(&results) {
            let transfer = &result["transfer"];
            match result["status"].as_u64() {
                Some(201) => self.note(item, &transfer["id"], &transfer["amount"], item.amount),
                Some(503 | 409) => settled = false,
                _ => self.outcome.faults.push(format!("{item:?} was answered {result}")),
            }
        }
        settled
    }

    /// Remembers what was acknowledged, and finds what was acknowledged otherwise before.
    fn note(&mut self, item: &Item, id: &Value, said: &Value, amount: i64) {
        let id = id.as_str().and_then(|id| id.parse().ok()).filter(|_| *said == json!(amount));
        let Some(id) = id else {
            self.outcome.faults.push(format!("{item:?} was answered {said}, not {amount}"));
            return;
        };
        let told = Acknowledged { id, from: item.from, to: item.to, amount };
        match self.outcome.acknowledged.insert(item.key.clone(), told.clone()) {
            Some(before) if before != told => {
                let fault =
                    format!("{} was acknowledged as {before:?}, then as {told:?}", item.key);
                self.outcome.faults.push(fault);
            }
            _ => {}
        }
    }
}

fn batch(items: &[Item], token: &str) -> Request {
    let transfers: Vec<Value> = items
        .iter()
        .map(|item| {
            let mut body = item.body();
            body["idempotency_key"] = json!(item.key);
            body
        })
        .collect();
    Request::post("/v1/transfers/batch", Some(token), None, json!({ "transfers": transfers }))
}

impl Item {
    fn transfer(&self, token: &str) -> Request {
        Request::post("/v1/transfers", Some(token), Some(&self.key), self.body())
    }

    fn deposit(&self, token: &str) -> Request {
        let path = format!("/v1/accounts/{}/deposits", self.to);
        let body = json!({ "amount": self.amount, "reference": self.key });
        Request::post(path, Some(token), Some(&self.key), body)
    }

    fn hold(&self, token: &str) -> Request {
        let body = json!({
            "account_id": self.from, "to_account_id": self.to, "amount": self.amount,
            "currency": "EUR", "description": "Under fire", "reference": self.key,
        });
        Request::post("/v1/holds", Some(token), Some(&self.key), body)
    }

    /// Captures so much of it and returns the rest, or lets it go. The key may be the
    /// hold's own: it is another command's, and another person's.
    fn end_of_hold(&self, token: &str, hold_id: Uuid, captured: Option<i64>) -> Request {
        let (end, body) = match captured {
            Some(amount) => ("capture", json!({ "amount": amount, "final": true })),
            None => ("release", json!({})),
        };
        let path = format!("/v1/holds/{hold_id}/{end}");
        Request::post(path, Some(token), Some(&self.key), body)
    }

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
