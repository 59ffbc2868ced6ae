//! Stored forms never change: values made once, that every later version must still read and, where
//! there is no nonce, still make.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use uuid::Uuid;

use crate::keyring::{DataKey, Kek, KeyContext, KeyId, MacKey, Purpose, RootKey, RootKeys};
use crate::keyring::{TenantKey as _, WrappedKey, WrappingKey as _};
use crate::password::{Hasher, HasherOptions, Pepper, Peppers};
use crate::sealed::{FieldContext, SealedField, open};
use crate::signing::SigningKey;
use crate::{IndexKey, OpaqueToken, SecretBytes, blind_index};

const WRAPPED: &str = "01bb15d63d69110125ac03e137b454261b43a418bfecb1d72f01aeb389584a8a74a48c6b1d50a1c35e3e419b9557ab644aa4bb68659aac124e61b17e4e3ccb41daa6738a67e707cf0660be42791133ac01d42cda427340252aaf295b2c9553ec8debb0e14576f4597a";
const SEALED: &str = "0100000000000000000000000000000002f3f2880f0357cbbd5c15ea4a82d8a6506b93a6698ad5e29d106177eefab144d549f784e6267489d1bd00c5ad10237fbd062b85ad9105ffeb66a14b60cb85ad4346ac6f636a039ade0a5c925fb58306297ddf6a3622e6c7";
const FIELD_ROOT: &str = "3ac02620322e3c71ddf5cbe31d5cd0a39ec023c80ee7ca81abe8f745fe808c86";
const INDEX: &str = "03ac57cb86528b72d4538096ed95fe06fd792c59ee25197b5a9626a5d5f9f93dd2";
const SUCCESSOR: &str =
    "refresh_00000000000000000000000000000001_6LHHBGVyQ5VDcvTikTqR0DRJrWqzaXJBnYDtSQQtN6k";
const PASSWORD: &str =
    "$sr1$929f306299a084c9$2b$04$FAykXgSA/QZAnmmO54okjuRJRpqgJZsULZXEjD7HjDVvKY8ft/wy.";
const HS256: &str = "66859d4397212f5ca670f3a31cfda75e60704b831670996da23b08426ba6225c";

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn root() -> RootKey {
    RootKey::from_bytes(&[1; 32])
}

fn context(purpose: Purpose) -> KeyContext {
    KeyContext { tenant: Uuid::from_u128(1), purpose, key: KeyId(Uuid::from_u128(2)), epoch: 3 }
}

fn secret() -> SecretBytes {
    SecretBytes::new(vec![4; 32])
}

fn cell() -> FieldContext<'static> {
    FieldContext {
        tenant: Uuid::from_u128(1),
        table: "users",
        column: "email",
        row: Uuid::from_u128(5),
    }
}

#[test]
fn wrapped_keys_and_sealed_fields_still_open() {
    let context_of_kek = context(Purpose::FieldKek);
    let wrapped = WrappedKey::from_bytes(bytes(WRAPPED)).unwrap();
    let kek: Kek = root().unwrap_key(&context_of_kek, &wrapped).unwrap();
    assert_eq!(kek.secret().expose(), secret().expose());
    let key = DataKey::from_secret(context(Purpose::FieldData), secret()).unwrap();
    let sealed = SealedField::from_bytes(bytes(SEALED)).unwrap();
    assert_eq!(open(&key, &cell(), &sealed).unwrap().expose(), b"ann@example.org");
    let roots = RootKeys::new(root(), None);
    assert_eq!(hexadecimal(&roots.field().commitment()), FIELD_ROOT);
}

#[test]
fn derived_values_are_still_the_same() {
    let key = IndexKey::from_secret(context(Purpose::BlindIndex), secret()).unwrap();
    assert_eq!(hexadecimal(&blind_index(&key, "users.email", "ann@example.org")), INDEX);
    let key = MacKey::from_secret(context(Purpose::RefreshSuccessor), secret()).unwrap();
    let text = format!("refresh_{}_{}", Uuid::from_u128(1).simple(), "A".repeat(43));
    let presented = OpaqueToken::parse(&text, "refresh").unwrap();
    let successor = OpaqueToken::derive_successor(&key, &presented);
    assert_eq!(successor.expose(), SUCCESSOR);
    let key = SigningKey::derive_hs256(&[7; 32], Uuid::from_u128(1), "kid").unwrap();
    assert_eq!(hexadecimal(key.private_bytes().expose()), HS256);
}

#[tokio::test]
async fn password_hashes_still_verify() {
    let options = HasherOptions {
        cost: 4,
        ..HasherOptions::production(Peppers::new(Pepper::derive(&root()), Vec::new()))
    };
    let hasher = Hasher::start(options).unwrap();
    let stored = PASSWORD.parse().unwrap();
    let verdict = hasher.verify("correct horse", Some(&stored)).await.unwrap();
    assert!(verdict.matches && !verdict.needs_rehash);
}
