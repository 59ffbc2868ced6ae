//! Wrapping binds every part of the context; roots parse; nothing prints itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::SecretBytes;
use crate::blind_index::{IndexKey, blind_index};

const HEXADECIMAL: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn tenant() -> Uuid {
    Uuid::from_u128(7)
}

fn root() -> RootKey {
    RootKey::from_bytes(&random_bytes())
}

#[test]
fn a_root_parses_from_every_accepted_encoding() {
    let expected = RootKey::parse(HEXADECIMAL).unwrap().commitment();
    let spellings = [
        HEXADECIMAL.to_uppercase(),
        format!(" {HEXADECIMAL}\n"),
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned(),
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8".to_owned(),
    ];
    for text in spellings {
        assert_eq!(RootKey::parse(&text).unwrap().commitment(), expected, "{text}");
    }
    for text in ["", "00", "not a key", &HEXADECIMAL[2..], "zz", &"é".repeat(32)] {
        assert_eq!(RootKey::parse(text).unwrap_err(), KeyError::Encoding, "{text}");
    }
}

#[test]
fn an_absent_field_root_is_derived_and_differs() {
    let roots = RootKeys::new(RootKey::parse(HEXADECIMAL).unwrap(), None);
    let again = RootKeys::new(RootKey::parse(HEXADECIMAL).unwrap(), None);
    assert_ne!(roots.field().commitment(), roots.encryption().commitment());
    assert_eq!(roots.field().commitment(), again.field().commitment());
    let given = RootKeys::new(RootKey::parse(HEXADECIMAL).unwrap(), Some(root()));
    assert_ne!(roots.field().commitment(), given.field().commitment());
}

#[test]
fn a_hierarchy_survives_wrapping() {
    let root = root();
    let kek = Kek::generate(tenant(), Purpose::FieldKek, 1).unwrap();
    let data = DataKey::generate(tenant(), Purpose::FieldData, 3).unwrap();
    let stored_kek = root.wrap_key(&kek).unwrap().into_bytes();
    let stored_data = kek.wrap_key(&data).unwrap().into_bytes();
    assert_eq!(stored_data.len(), WRAP_OVERHEAD_BYTES + KEY_BYTES);

    let wrapped = WrappedKey::from_bytes(stored_kek).unwrap();
    assert_eq!(wrapped.wrapped_by(), root.commitment());
    let kek: Kek = root.unwrap_key(kek.context(), &wrapped).unwrap();
    let wrapped = WrappedKey::from_bytes(stored_data).unwrap();
    let opened: DataKey = kek.unwrap_key(data.context(), &wrapped).unwrap();
    assert_eq!(opened.secret().expose(), data.secret().expose());
}

#[test]
fn a_wrapped_key_opens_in_its_own_context_only() {
    let root = root();
    let context = KeyContext::generate(tenant(), Purpose::FieldKek, 1);
    let wrapped = root.wrap(&context, &random_secret()).unwrap();
    let others = [
        KeyContext { tenant: Uuid::from_u128(8), ..context },
        KeyContext { purpose: Purpose::TenantKek, ..context },
        KeyContext { key: KeyId::generate(), ..context },
        KeyContext { epoch: 2, ..context },
    ];
    assert!(root.unwrap(&context, &wrapped).is_ok());
    for other in others {
        assert_eq!(root.unwrap(&other, &wrapped).unwrap_err(), KeyError::Tampered);
    }
    let foreign = RootKey::from_bytes(&random_bytes());
    let refused = foreign.unwrap(&context, &wrapped).unwrap_err();
    assert_eq!(refused, KeyError::WrongWrappingKey);
}

#[test]
fn every_flipped_byte_of_a_wrapped_key_is_refused() {
    let root = root();
    let context = KeyContext::generate(tenant(), Purpose::TokenSigning, 1);
    let bytes = root.wrap(&context, &random_secret()).unwrap().into_bytes();
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        let opened = WrappedKey::from_bytes(altered).and_then(|key| root.unwrap(&context, &key));
        assert!(opened.is_err(), "byte {at}");
    }
    for length in 0..=WRAP_OVERHEAD_BYTES {
        let cut = WrappedKey::from_bytes(bytes[..length].to_vec());
        assert_eq!(cut.unwrap_err(), KeyError::Truncated, "length {length}");
    }
}

#[test]
fn kinds_refuse_foreign_purposes_and_lengths() {
    let context = |purpose| KeyContext::generate(tenant(), purpose, 1);
    let refused = DataKey::from_secret(context(Purpose::Cursor), random_secret());
    assert_eq!(refused.unwrap_err(), KeyError::WrongPurpose);
    let refused = Kek::from_secret(context(Purpose::FieldData), random_secret());
    assert_eq!(refused.unwrap_err(), KeyError::WrongPurpose);
    let short = SecretBytes::new(vec![1; 31]);
    for outcome in [
        DataKey::from_secret(context(Purpose::FieldData), short.clone()).map(drop),
        Kek::from_secret(context(Purpose::TenantKek), short.clone()).map(drop),
        MacKey::from_secret(context(Purpose::Cursor), short.clone()).map(drop),
        IndexKey::from_secret(context(Purpose::BlindIndex), short).map(drop),
    ] {
        assert_eq!(outcome.unwrap_err(), KeyError::WrongLength);
    }
    for epoch in [0, 256] {
        let refused = IndexKey::generate(tenant(), Purpose::BlindIndex, epoch);
        assert_eq!(refused.unwrap_err(), KeyError::EpochOutOfRange);
    }
}

#[test]
fn purposes_keep_their_names() {
    for purpose in Purpose::ALL {
        assert_eq!(Purpose::parse(purpose.as_str()), Some(purpose));
        let name = serde_json::to_value(purpose).unwrap();
        assert_eq!(name, purpose.as_str());
    }
    assert_eq!(Purpose::parse("root"), None);
}

#[test]
fn macs_separate_domains_and_keys() {
    let key = MacKey::generate(tenant(), Purpose::Cursor, 1).unwrap();
    let other = MacKey::generate(tenant(), Purpose::Cursor, 1).unwrap();
    let tag = key.sign("a", b"bc");
    assert!(key.verify("a", b"bc", &tag));
    for refused in [
        key.verify("ab", b"c", &tag),
        key.verify("a", b"bd", &tag),
        key.verify("a", b"bc", &tag[..31]),
        other.verify("a", b"bc", &tag),
    ] {
        assert!(!refused);
    }
}

#[test]
fn blind_indexes_separate_tenants_domains_values_and_versions() {
    let secret = || SecretBytes::new(vec![5; 32]);
    let key = |tenant: u128, epoch| {
        let context = KeyContext::generate(Uuid::from_u128(tenant), Purpose::BlindIndex, epoch);
        IndexKey::from_secret(context, secret()).unwrap()
    };
    let index = blind_index(&key(1, 1), "users.email", "ann@example.org");
    assert_eq!(index[0], 1);
    assert_eq!(index, blind_index(&key(1, 1), "users.email", "ann@example.org"));
    // Even with the same secret bytes another tenant's index is unrelated.
    for other in [
        blind_index(&key(2, 1), "users.email", "ann@example.org"),
        blind_index(&key(1, 1), "users.phone", "ann@example.org"),
        blind_index(&key(1, 1), "users.emaila", "nn@example.org"),
        blind_index(&key(1, 1), "users.email", "bob@example.org"),
    ] {
        assert_ne!(index[1..], other[1..]);
    }
    assert_eq!(blind_index(&key(1, 9), "users.email", "x")[0], 9);
}

#[test]
fn nothing_prints_its_secret() {
    let root = RootKey::from_bytes(&[b'S'; 32]);
    let context = |purpose| KeyContext::generate(tenant(), purpose, 1);
    let secret = || SecretBytes::new(vec![b'S'; 32]);
    let printed = [
        format!("{root:?} {:?}", RootKeys::new(RootKey::from_bytes(&[b'S'; 32]), None)),
        format!("{:?}", secret()),
        format!("{:?}", Kek::from_secret(context(Purpose::TenantKek), secret())),
        format!("{:?}", DataKey::from_secret(context(Purpose::FieldData), secret())),
        format!("{:?}", MacKey::from_secret(context(Purpose::Cursor), secret())),
        format!("{:?}", IndexKey::from_secret(context(Purpose::BlindIndex), secret())),
    ];
    for text in printed {
        for shape in ["SSSS", &"53".repeat(8), "83, 83"] {
            assert!(!text.contains(shape), "{text}");
        }
    }
}

fn random_secret() -> SecretBytes {
    crate::random_secret(KEY_BYTES)
}
