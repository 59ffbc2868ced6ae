//! Hashing is long-password safe, dummies cost the same, and the queue neither blocks nor leaks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::keyring::RootKey;

const ARGON2ID: Recipe = Recipe::Argon2id(Argon2Costs::DEFAULT);

fn pepper(id: &str) -> Pepper {
    Pepper::new(id, &[9; 32]).unwrap()
}

fn options(cost: u32, queue_capacity: usize) -> HasherOptions {
    HasherOptions {
        cost,
        threads: NonZeroUsize::MIN,
        queue_capacity,
        wait_max: Duration::from_secs(60),
        niceness: 0,
        memory_kib: 65_536,
        peppers: Peppers::new(pepper("a"), Vec::new()),
    }
}

fn hasher(cost: u32) -> Hasher {
    Hasher::start(options(cost, 16)).unwrap()
}

#[tokio::test]
async fn a_hash_verifies_its_own_password_only() {
    let hasher = hasher(4);
    let long = "x".repeat(100);
    let passwords = [
        String::new(),
        "correct horse".to_owned(),
        "correct hors".to_owned(),
        "nul\0first".to_owned(),
        "nul\0second".to_owned(),
        format!("{long}1"),
        format!("{long}2"),
        "pässwörd".to_owned(),
    ];
    for made in &passwords {
        let stored = hasher.hash(made).await.unwrap();
        let stored: PasswordHash = stored.to_string().parse().unwrap();
        for tried in &passwords {
            let verdict = hasher.verify(tried, Some(&stored)).await.unwrap();
            assert_eq!(verdict.matches, made == tried, "{made:?} {tried:?}");
            assert!(!verdict.needs_rehash);
        }
    }
}

#[tokio::test]
async fn the_stored_form_is_documented_and_strict() {
    let stored = hasher(4).hash("secret").await.unwrap();
    let text = stored.to_string();
    assert!(text.starts_with("$sr1$a$2b$04$"), "{text}");
    assert_eq!((stored.pepper_id(), stored.bcrypt_cost()), ("a", Some(4)));
    assert!(!format!("{stored:?}").contains(&text[13..]));
    let broken = [
        String::new(),
        text[4..].to_owned(),
        text.replace("sr1", "sr2"),
        text.replace("sr1", "sr3"),
        text.replace("$a$", "$$"),
        text.replace("$a$", "$A$"),
        text[..text.len() - 1].to_owned(),
        format!("{text}a"),
    ];
    for text in broken {
        let refused = text.parse::<PasswordHash>().unwrap_err();
        assert_eq!(refused, PasswordError::MalformedHash, "{text}");
    }
    let costly = text.replace("$04$", "$31$").parse::<PasswordHash>();
    assert_eq!(costly.unwrap_err(), PasswordError::CostOutOfRange);
}

#[tokio::test]
async fn changed_cost_or_pepper_asks_for_a_new_hash() {
    let old = hasher(4).hash("secret").await.unwrap();
    let dearer = hasher(5);
    let rotated = Hasher::start(HasherOptions {
        peppers: Peppers::new(Pepper::new("b", &[8; 40]).unwrap(), vec![pepper("a")]),
        ..options(4, 16)
    })
    .unwrap();
    for current in [&dearer, &rotated] {
        let verdict = current.verify("secret", Some(&old)).await.unwrap();
        assert!(verdict.matches && verdict.needs_rehash);
        let verdict = current.verify("wrong", Some(&old)).await.unwrap();
        assert!(!verdict.matches && !verdict.needs_rehash);
        let renewed = current.hash("secret").await.unwrap();
        let verdict = current.verify("secret", Some(&renewed)).await.unwrap();
        assert!(verdict.matches && !verdict.needs_rehash);
    }
    let forgetful = Hasher::start(HasherOptions {
        peppers: Peppers::new(Pepper::new("b", &[8; 40]).unwrap(), Vec::new()),
        ..options(4, 16)
    })
    .unwrap();
    let refused = forgetful.verify("secret", Some(&old)).await.unwrap_err();
    assert_eq!(refused, PasswordError::UnknownPepper);
}

#[tokio::test]
async fn a_change_of_scheme_or_costs_asks_for_a_new_hash_in_both_directions() {
    let hasher = hasher(4);
    let costlier = Argon2Costs::new(19_456, 3, 1).unwrap();
    let recipes = [Recipe::Bcrypt, ARGON2ID, Recipe::Argon2id(costlier)];
    for made in recipes {
        let stored = hasher.reserve_for(made).unwrap().hash("nul\0secret").await.unwrap();
        let stored: PasswordHash = stored.to_string().parse().unwrap();
        for now in recipes {
            let verdict = hasher.reserve_for(now).unwrap();
            let verdict = verdict.verify("nul\0secret", Some(&stored)).await.unwrap();
            assert_eq!(verdict, Verdict { matches: true, needs_rehash: made != now });
        }
        let wrong = hasher.reserve_for(made).unwrap().verify("nul\0other", Some(&stored)).await;
        assert_eq!(wrong.unwrap(), Verdict { matches: false, needs_rehash: false });
    }
}

#[tokio::test]
async fn argon2id_has_a_stored_form_that_names_scheme_pepper_and_costs() {
    let stored = hasher(4).reserve_for(ARGON2ID).unwrap().hash("secret").await.unwrap();
    let text = stored.to_string();
    assert!(text.starts_with("$sr2$a$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
    assert_eq!((stored.scheme().as_str(), stored.bcrypt_cost()), ("sr2", None));
    let cheap = text.replace("m=19456", "m=1024").parse::<PasswordHash>();
    assert_eq!(cheap.unwrap_err(), PasswordError::CostOutOfRange);
    for broken in [text.replace("$sr2$", "$sr1$"), text.replace("$a$", "$$"), format!("{text}A")] {
        assert_eq!(broken.parse::<PasswordHash>().unwrap_err(), PasswordError::MalformedHash);
    }
}

#[tokio::test]
async fn hashes_hold_no_more_memory_together_than_they_may() {
    // Room for one at a time, three threads: the second waits for the first.
    let options = HasherOptions {
        threads: NonZeroUsize::new(3).unwrap(),
        memory_kib: 20_000,
        ..options(4, 32)
    };
    let hasher = Arc::new(Hasher::start(options).unwrap());
    let tasks: Vec<_> = (0..9)
        .map(|number| {
            let hasher = Arc::clone(&hasher);
            let recipe = if number % 3 == 0 { Recipe::Bcrypt } else { ARGON2ID };
            tokio::spawn(async move { hasher.reserve_for(recipe)?.verify("guess", None).await })
        })
        .collect();
    for task in tasks {
        assert!(!task.await.unwrap().unwrap().matches);
    }
    assert_eq!((hasher.computed(), hasher.memory_kib_most()), (9, 19_456));
}

#[tokio::test]
async fn an_unknown_user_costs_as_much_as_a_known_one() {
    let hasher = hasher(8);
    let stored = hasher.hash("secret").await.unwrap();
    let mut least = [Duration::MAX; 2];
    for _ in 0..7 {
        for (known, least) in [None, Some(&stored)].into_iter().zip(&mut least) {
            let started = Instant::now();
            let verdict = hasher.verify("guess", known).await.unwrap();
            assert!(!verdict.matches && !verdict.needs_rehash);
            *least = started.elapsed().min(*least);
        }
    }
    let ratio = least[0].as_secs_f64() / least[1].as_secs_f64();
    assert!((0.5..2.0).contains(&ratio), "{least:?}");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_recovers() {
    let hasher = Arc::new(Hasher::start(options(11, 2)).unwrap());
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let hasher = Arc::clone(&hasher);
            tokio::spawn(async move {
                let started = Instant::now();
                (hasher.verify("guess", None).await, started.elapsed())
            })
        })
        .collect();
    let (mut served, mut refused) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            (Ok(_), _) => served += 1,
            (Err(PasswordError::Busy { retry_after_s }), taken) => {
                assert!(retry_after_s >= 1 && taken < Duration::from_millis(100));
                refused += 1;
            }
            (Err(other), _) => panic!("{other}"),
        }
    }
    // One at work and two waiting; more only if this thread was held up for a whole hash.
    assert!(served >= 3 && refused >= 5, "{served} served, {refused} refused");
    assert!(hasher.verify("guess", None).await.is_ok());
}

#[tokio::test]
async fn a_cancelled_caller_gives_its_place_back() {
    let hasher = Arc::new(Hasher::start(options(11, 3)).unwrap());
    let submit = || {
        let hasher = Arc::clone(&hasher);
        tokio::spawn(async move { hasher.hash("secret").await })
    };
    let at_work = submit();
    tokio::time::sleep(Duration::from_millis(20)).await;
    for _ in 0..20 {
        let waiting: Vec<_> = (0..3).map(|_| submit()).collect();
        tokio::task::yield_now().await;
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
        for task in waiting {
            assert!(task.await.unwrap_err().is_cancelled());
        }
    }
    assert!(submit().await.unwrap().is_ok());
    assert!(at_work.await.unwrap().is_ok());
}

#[tokio::test]
async fn dropped_callers_are_not_hashed() {
    let hasher = Arc::new(Hasher::start(options(11, 16)).unwrap());
    let submit = || {
        let hasher = Arc::clone(&hasher);
        tokio::spawn(async move { hasher.verify("guess", None).await })
    };
    let tasks: Vec<_> = (0..10).map(|_| submit()).collect();
    tokio::task::yield_now().await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    assert!(submit().await.unwrap().is_ok());
    // The one that was wanted, and whatever was at work before the callers went.
    assert!(hasher.computed() < 6, "{} computed", hasher.computed());
}

#[tokio::test]
async fn a_place_is_reserved_before_there_is_anything_to_hash() {
    let hasher = Hasher::start(options(4, 2)).unwrap();
    let mut held: Vec<_> = (0..3).map(|_| hasher.reserve().unwrap()).collect();
    assert!(matches!(hasher.reserve(), Err(PasswordError::Busy { retry_after_s: 1.. })));
    assert!(matches!(hasher.hash("secret").await, Err(PasswordError::Busy { .. })));
    let stored = held.pop().unwrap().hash("secret").await.unwrap();
    let verdict = held.pop().unwrap().verify("secret", Some(&stored)).await.unwrap();
    assert!(verdict.matches);
    drop(held);
    assert!(hasher.verify("secret", Some(&stored)).await.unwrap().matches);
    let late = hasher.reserve().unwrap();
    drop(hasher);
    assert_eq!(late.hash("secret").await.unwrap_err(), PasswordError::PoolFailed);
}

#[test]
fn the_queue_is_no_longer_than_the_wait_that_is_allowed() {
    // Cost 12 is taken for 245,760 us until it is measured.
    let table = [(Duration::ZERO, 1), (Duration::from_secs(1), 5), (Duration::from_secs(3), 13)];
    for (wait_max, expected) in table {
        let hasher = Hasher::start(HasherOptions { wait_max, ..options(12, 64) }).unwrap();
        let held: Vec<_> = std::iter::from_fn(|| hasher.reserve().ok()).collect();
        assert_eq!(held.len(), expected, "{wait_max:?}");
    }
}

#[test]
fn costs_and_peppers_are_checked() {
    for cost in [0, 3, 23, 40] {
        let refused = Hasher::start(options(cost, 1)).unwrap_err();
        assert_eq!(refused, PasswordError::CostOutOfRange);
    }
    for (id, bytes) in [("", 32), ("A", 32), ("a$", 32), ("a", 31)] {
        let refused = Pepper::new(id, &vec![1; bytes]).unwrap_err();
        assert_eq!(refused, PasswordError::BadPepper);
    }
    let root = |byte| RootKey::from_bytes(&[byte; 32]);
    let id = |byte| Pepper::derive(&root(byte)).id().to_owned();
    assert_eq!(id(1), id(1));
    assert_ne!(id(1), id(2));
    let production = HasherOptions::production(Peppers::new(pepper("a"), Vec::new()));
    assert!(production.cost >= MINIMUM_PRODUCTION_COST);
}
