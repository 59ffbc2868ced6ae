//! Generations side by side: each opens what it sealed; what was moved, is foreign, was
//! destroyed or is unknown never opens and never reads as nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;

use proptest::prelude::*;
use vault::{RootKey, RootKeys, TenantKey as _};

use super::{
    generations, ring,
    roots::Roots,
    stored::{self, Stored, StoredKey},
    *,
};

const CELL: (&str, &str) = ("notices", "values_sealed");

fn roots() -> Roots {
    RootKeys::new(RootKey::from_bytes(&[7; 32]), None).into()
}

fn tenant() -> Uuid {
    Uuid::from_u128(1)
}

fn opened(stored: &Stored) -> TenantKeys {
    generations::open(&roots(), tenant(), stored, HashSet::new()).unwrap()
}

/// The first generation of everything.
fn first() -> Stored {
    ring::new_tenant(&roots(), tenant()).unwrap()
}

/// One generation more of both KEKs, and of the keys that seal and index, under them.
fn rotated(stored: &Stored) -> Stored {
    let mut next = stored.clone();
    let roots = roots();
    for purpose in [Purpose::TenantKek, Purpose::FieldKek] {
        let epoch = retire(&mut next.keks, purpose) + 1;
        let kek = Kek::generate(tenant(), purpose, epoch).unwrap();
        next.keks.push(roots.wrap(&kek).unwrap());
        let wrapped = match purpose {
            Purpose::FieldKek => &[Purpose::FieldData, Purpose::BlindIndex][..],
            _ => &[Purpose::AuditData],
        };
        for wrapped in wrapped {
            let epoch = retire(&mut next.data_keys, *wrapped) + 1;
            let mut key = stored::data_key(tenant(), *wrapped, epoch, &kek).unwrap();
            key.is_settled = true;
            next.data_keys.push(key);
        }
    }
    next
}

/// Retires all of a purpose and says how many there were.
fn retire(keys: &mut [StoredKey], purpose: Purpose) -> u32 {
    let of_purpose = keys.iter_mut().filter(|key| key.context.purpose == purpose);
    of_purpose.map(|key| key.status = "retired".to_owned()).count().try_into().unwrap()
}

/// Destroys one generation.
fn destroy(keys: &mut [StoredKey], purpose: Purpose, epoch: u32) {
    let mut of_purpose = keys.iter_mut().filter(|key| key.context.purpose == purpose);
    let key = of_purpose.find(|key| key.context.epoch == epoch).unwrap();
    (key.status, key.wrapped) = ("destroyed".to_owned(), None);
}

fn wrapped_subject(keys: &TenantKeys) -> (DataKey, i32, Vec<u8>) {
    let subject = keys.make_subject_key().unwrap();
    let wrapped = keys.field_kek.wrap_key(&subject).unwrap().into_bytes();
    (subject, epoch_column(keys.field_kek.context().epoch), wrapped)
}

#[test]
fn a_new_tenant_has_one_generation_of_everything() {
    let keys = opened(&first());
    assert_eq!((keys.keks.len(), keys.data.len(), keys.indexes.len()), (2, 2, 1));
    assert_eq!((keys.field().id(), keys.audit().id()), (keys.field.id(), keys.audit.id()));
    assert_ne!(keys.field().id(), keys.audit().id());
    assert!(!keys.is_stale());
}

#[test]
fn each_generation_opens_what_it_sealed_and_the_newest_seals() {
    let row = Uuid::from_u128(2);
    let mut stored = first();
    let mut kept = Vec::new();
    for generation in 1..=4_u8 {
        let keys = opened(&stored);
        let text = format!("generation {generation}");
        let sealed = keys.seal(keys.field(), (CELL.0, CELL.1, row), &text).unwrap();
        let (subject, epoch, wrapped) = wrapped_subject(&keys);
        assert_eq!((epoch, keys.index().version()), (i32::from(generation), generation));
        kept.push((text, sealed, subject.id(), epoch, wrapped));
        stored = rotated(&stored);
    }
    let keys = opened(&stored);
    for (text, sealed, id, epoch, wrapped) in kept {
        assert_eq!(keys.open_own((CELL.0, CELL.1, row), sealed).unwrap(), text);
        let subject = keys.open_subject_key(id.0, epoch, Some(wrapped)).unwrap();
        assert_eq!(subject.id(), id);
    }
    assert_eq!(keys.kek_of(1).unwrap().context().epoch, 1);
    assert_eq!(keys.kek().context().epoch, 5);
}

#[test]
fn an_index_key_is_written_by_once_it_is_settled_and_while_it_opens() {
    let unsettled = |stored: &mut Stored, version: u32| {
        let mut keys = stored.data_keys.iter_mut();
        let is_it = |key: &&mut StoredKey| {
            key.context.purpose == Purpose::BlindIndex && key.context.epoch == version
        };
        keys.find(is_it).unwrap().is_settled = false;
    };
    let mut stored = rotated(&rotated(&first()));
    assert_eq!(opened(&stored).index().version(), 3);
    unsettled(&mut stored, 3);
    assert_eq!(opened(&stored).index().version(), 2);
    // The KEK is gone while the row still holds what it wrapped.
    destroy(&mut stored.keks, Purpose::FieldKek, 2);
    assert_eq!(opened(&stored).index().version(), 1);
    destroy(&mut stored.keks, Purpose::FieldKek, 1);
    assert_eq!(opened(&stored).index().version(), 3);
}

#[test]
fn a_value_is_looked_up_under_every_living_version_the_newest_first() {
    let mut stored = rotated(&rotated(&first()));
    let versions = |keys: &TenantKeys| -> Vec<u8> {
        keys.indexes("users.email", "ann@example.org").iter().map(|index| index[0]).collect()
    };
    let keys = opened(&stored);
    assert_eq!(versions(&keys), [3, 2, 1]);
    let newest = keys.indexes("users.email", "ann@example.org").remove(0);
    assert_eq!(newest[..], blind_index(keys.index(), "users.email", "ann@example.org"));
    for version in 1..=3 {
        assert_eq!(keys.index_of(version).unwrap().version(), version);
    }
    destroy(&mut stored.data_keys, Purpose::BlindIndex, 1);
    let keys = opened(&stored);
    assert_eq!(versions(&keys), [3, 2]);
    let refused = keys.index_of(1).unwrap_err();
    assert!(matches!(refused, KeyringError::Destroyed(KeyName::Index(1))), "{refused}");
    assert!(!keys.is_stale(), "what is known to be destroyed is not looked for again");
}

#[test]
fn what_a_destroyed_generation_sealed_is_an_error_that_says_so() {
    let row = Uuid::from_u128(2);
    let before = opened(&first());
    let sealed = before.seal(before.field(), (CELL.0, CELL.1, row), "text").unwrap();
    let (subject, epoch, wrapped) = wrapped_subject(&before);
    let mut stored = rotated(&first_of(&before));
    destroy(&mut stored.data_keys, Purpose::FieldData, 1);
    destroy(&mut stored.keks, Purpose::FieldKek, 1);
    let keys = opened(&stored);

    let refused = keys.open_own((CELL.0, CELL.1, row), sealed).unwrap_err();
    let name = KeyName::Data(before.field().id());
    assert!(matches!(&refused, KeyringError::Destroyed(of) if *of == name), "{refused}");
    assert!(matches!(DbError::from(refused), DbError::Corrupt(text) if text.contains("destroyed")));

    let refused = keys.open_subject_key(subject.id().0, epoch, Some(wrapped)).unwrap_err();
    let name = KeyName::Kek(Purpose::FieldKek, 1);
    assert!(matches!(&refused, KeyringError::Destroyed(of) if *of == name), "{refused}");
    // Erasure is another thing, and is told from it.
    let erased = keys.open_subject_key(subject.id().0, epoch, None).unwrap_err();
    assert!(matches!(erased, KeyringError::Shredded), "{erased}");
    assert!(!keys.is_stale());
}

#[test]
fn a_tenant_whose_current_key_is_gone_does_not_open() {
    for purpose in [Purpose::FieldData, Purpose::BlindIndex, Purpose::Cursor] {
        let mut stored = first();
        destroy(&mut stored.data_keys, purpose, 1);
        let refused = generations::open(&roots(), tenant(), &stored, HashSet::new()).unwrap_err();
        let missing = purpose.as_str();
        assert!(matches!(refused, KeyringError::Missing(name) if name == missing), "{refused}");
    }
    let mut stored = first();
    stored.keks.remove(1);
    let refused = generations::open(&roots(), tenant(), &stored, HashSet::new()).unwrap_err();
    let name = KeyName::Kek(Purpose::FieldKek, 1);
    assert!(matches!(refused, KeyringError::Unknown(of) if of == name), "{refused}");
}

#[test]
fn an_unknown_key_is_looked_for_once_and_then_there_is_none() {
    let (mine, row) = (opened(&first()), Uuid::from_u128(2));
    let other = opened(&first());
    let sealed = other.seal(other.field(), (CELL.0, CELL.1, row), "text").unwrap();
    let name = KeyName::Data(other.field().id());
    let refused = mine.open_own((CELL.0, CELL.1, row), sealed.clone()).unwrap_err();
    assert!(matches!(&refused, KeyringError::NotYetKnown(of) if *of == name), "{refused}");
    assert!(matches!(DbError::from(refused), DbError::StaleKeys(_)));
    assert!(mine.is_stale(), "the next reading is due");
    assert_eq!(*mine.wanted.lock().unwrap(), HashSet::from([name]));

    let asked = mine.wanted.lock().unwrap().clone();
    let again = generations::open(&roots(), tenant(), &first(), asked).unwrap();
    let refused = again.open_own((CELL.0, CELL.1, row), sealed).unwrap_err();
    assert!(matches!(&refused, KeyringError::Unknown(of) if *of == name), "{refused}");
    assert!(matches!(DbError::from(refused), DbError::Corrupt(_)));
    assert!(!again.is_stale(), "and it costs no further reading");
}

/// What a reading of these keys was: their first generation, as it is stored.
fn first_of(keys: &TenantKeys) -> Stored {
    let roots = roots();
    let field = Some((Purpose::FieldKek, 1));
    let audit = Some((Purpose::TenantKek, 1));
    let one = |key: &MacKey| StoredKey::new(key, audit, keys.kek()).unwrap();
    Stored {
        keks: vec![roots.wrap(keys.kek()).unwrap(), roots.wrap(keys.field_kek.as_ref()).unwrap()],
        data_keys: vec![
            StoredKey::new(keys.field(), field, keys.field_kek.as_ref()).unwrap(),
            StoredKey::new(keys.index(), field, keys.field_kek.as_ref()).unwrap(),
            StoredKey::new(keys.audit(), audit, keys.kek()).unwrap(),
            one(keys.refresh()),
            one(keys.cursor()),
            one(keys.session()),
        ],
    }
}

/// What is done to a ciphertext or to the keys before it is opened.
#[derive(Clone, Copy, Debug)]
enum Harm {
    None,
    MovedToRow,
    MovedToColumn,
    MovedToTable,
    OfAnotherTenant,
    KeyDestroyed,
    KekDestroyed,
    KeyForgotten,
    BitFlipped(usize),
    Cut(usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        2 => Just(Harm::None),
        1 => Just(Harm::MovedToRow),
        1 => Just(Harm::MovedToColumn),
        1 => Just(Harm::MovedToTable),
        1 => Just(Harm::OfAnotherTenant),
        1 => Just(Harm::KeyDestroyed),
        1 => Just(Harm::KekDestroyed),
        1 => Just(Harm::KeyForgotten),
        2 => any::<usize>().prop_map(Harm::BitFlipped),
        1 => any::<usize>().prop_map(Harm::Cut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happened since, and under whichever generation it was sealed: a value opens as
    /// what it was, or it is an error of the right kind. It is never empty and never another.
    #[test]
    fn a_value_opens_as_it_was_or_not_at_all(
        text in ".{1,40}",
        (sealed_at, later) in (0_usize..4, 0_usize..4),
        harm in harm(),
    ) {
        let mut stored = first();
        (0..sealed_at).for_each(|_| stored = rotated(&stored));
        let by = opened(&stored);
        let (row, other) = (Uuid::from_u128(2), Uuid::from_u128(3));
        let mut sealed = by.seal(by.field(), (CELL.0, CELL.1, row), &text).unwrap();
        // A generation that is destroyed has a successor.
        let destroyed = matches!(harm, Harm::KeyDestroyed | Harm::KekDestroyed);
        (0..later.max(usize::from(destroyed))).for_each(|_| stored = rotated(&stored));
        let epoch = u32::try_from(sealed_at).unwrap() + 1;
        let mut cell = (CELL.0, CELL.1, row);
        match harm {
            Harm::None => {}
            Harm::MovedToRow => cell.2 = other,
            Harm::MovedToColumn => cell.1 = "recipient_sealed",
            Harm::MovedToTable => cell.0 = "webhooks",
            Harm::OfAnotherTenant => {
                let foreign = Uuid::from_u128(9);
                let theirs = ring::new_tenant(&roots(), foreign).unwrap();
                let theirs = generations::open(&roots(), foreign, &theirs, HashSet::new()).unwrap();
                sealed = theirs.seal(theirs.field(), cell, &text).unwrap();
            }
            Harm::KeyDestroyed => destroy(&mut stored.data_keys, Purpose::FieldData, epoch),
            Harm::KekDestroyed => destroy(&mut stored.keks, Purpose::FieldKek, epoch),
            Harm::KeyForgotten => {
                stored = rotated(&stored);
                stored.data_keys.retain(|key| key.context.key != by.field().id());
            }
            Harm::BitFlipped(at) => {
                let bit = at % (sealed.len() * 8);
                sealed[bit / 8] ^= 1 << (bit % 8);
            }
            Harm::Cut(at) => sealed.truncate(at % sealed.len()),
        }
        let outcome = opened(&stored).open_own(cell, sealed);
        let is_right = match (&harm, &outcome) {
            (Harm::None, Ok(found)) => *found == text,
            (Harm::MovedToRow | Harm::MovedToColumn | Harm::MovedToTable, Err(error)) => {
                matches!(error, KeyringError::Open(OpenError::Tampered))
            }
            (Harm::OfAnotherTenant | Harm::KeyForgotten, Err(error)) => {
                matches!(error, KeyringError::NotYetKnown(KeyName::Data(_)))
            }
            (Harm::KeyDestroyed | Harm::KekDestroyed, Err(error)) => {
                matches!(error, KeyringError::Destroyed(KeyName::Data(id)) if *id == by.field().id())
            }
            // A flipped key id names a key that there is not.
            (Harm::BitFlipped(_), Err(error)) => matches!(
                error,
                KeyringError::Open(_) | KeyringError::NotYetKnown(KeyName::Data(_))
            ),
            (Harm::Cut(_), Err(error)) => {
                matches!(error, KeyringError::Open(OpenError::Truncated { .. } | OpenError::Tampered))
            }
            _ => false,
        };
        prop_assert!(is_right, "{harm:?} gave {outcome:?}");
    }

    /// A person's key opens under the KEK that its row names and under no other.
    #[test]
    fn a_subject_key_opens_under_its_own_generation(
        made_at in 0_usize..4,
        asked in 0_i32..8,
    ) {
        let mut stored = first();
        (0..made_at).for_each(|_| stored = rotated(&stored));
        let (subject, epoch, wrapped) = wrapped_subject(&opened(&stored));
        let keys = opened(&rotated(&stored));
        let outcome = keys.open_subject_key(subject.id().0, asked, Some(wrapped));
        let is_right = match &outcome {
            Ok(found) => asked == epoch && found.id() == subject.id(),
            Err(KeyringError::NotYetKnown(KeyName::Kek(Purpose::FieldKek, _))) => {
                asked == 0 || usize::try_from(asked).unwrap() > made_at + 2
            }
            Err(KeyringError::Key(KeyError::WrongWrappingKey)) => asked != epoch,
            Err(_) => false,
        };
        prop_assert!(is_right, "epoch {asked} for {epoch}: {outcome:?}");
    }
}
