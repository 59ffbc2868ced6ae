//! Table-driven: what stands in the place of a secret, and what becomes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrets::{Reference, Refusal};
use vault::SecretBytes;
use zeroize::Zeroizing;

use crate::config::{Configuration, Sources, settings};

const ROOT: &str = "q3Zf0v9m5N8s1XyB7LdKcTgJhR2WuEaP4oYi6MbVnQk=";
const OTHER_ROOT: &str = "Zk8vQ2mN5sX1yB7LdKcTgJhR0WuEaP4oYi6MbVnq3f8=";
const URL: &str = "postgresql://bank:hush-9137@db.example/bank";

fn environment(pairs: &[(&str, &str)]) -> Sources {
    let environment: BTreeMap<_, _> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sources { environment, ..Sources::default() }
}

/// A store that keeps these, and counts nothing.
fn read(sources: &Sources) -> Configuration {
    Configuration::read_with(sources, &|reference| kept(reference))
}

fn kept(reference: &Reference) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let bytes = match reference.to_string().as_str() {
        "aws-sm://database#url" => {
            b"postgresql+asyncpg://bank:hush-9137@db.example/bank\n".to_vec()
        }
        "aws-sm://sealed" => sealed("DATABASE_URL", URL, ROOT).into_bytes(),
        "aws-sm://onwards" => b"azure-kv://bank/password".to_vec(),
        "aws-sm://binary" => vec![0xff; 40],
        "azure-kv://bank/password" => b"hush-9137".to_vec(),
        "azure-kv://bank/not-a-key" => b"hush-9137-that-is-none".to_vec(),
        // As a key management service keeps a root.
        "aws-kms://…" => (0..32).map(|byte| byte * 7 + 3).collect(),
        _ => return Err(Refusal::NotFound),
    };
    Ok(Zeroizing::new(bytes))
}

fn sealed(name: &str, text: &str, root: &str) -> String {
    let configuration = Configuration::read(&environment(&[("ENCRYPTION_KEY", root)]));
    configuration.seal(settings::find(name).unwrap(), text).unwrap()
}

fn fault(sources: &Sources) -> String {
    let faults = read(sources).check_serving().unwrap_err();
    let text = faults.to_string();
    assert!(!text.contains("hush"), "{text}");
    assert_eq!(faults.0.len(), 1, "one fault, and none that follows from it: {text}");
    text
}

#[test]
fn a_sealed_text_opens_wherever_a_secret_may_stand() {
    let url = sealed("DATABASE_URL", &format!("{URL}\n"), ROOT);
    assert!(url.starts_with("sealed:v1:") && !url.contains("bank"), "{url}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{url}\n")).unwrap();
    let root = ("ENCRYPTION_KEY", ROOT);
    let dot_env = (PathBuf::from(".env"), format!("DATABASE_URL={url}\n"));
    let toml = (PathBuf::from("a.toml"), format!("database_url = \"{url}\"\n"));
    let table = [
        (environment(&[root, ("DATABASE_URL", &url)]), "environment, sealed"),
        (
            environment(&[root, ("DATABASE_URL_FILE", file.path().to_str().unwrap())]),
            "environment (DATABASE_URL_FILE), sealed",
        ),
        (Sources { dot_env: Some(dot_env), ..environment(&[root]) }, ".env, sealed"),
        (Sources { toml: Some(toml), ..environment(&[root]) }, "a.toml, sealed"),
    ];
    for (sources, source) in table {
        let configuration = read(&sources);
        configuration.check_serving().unwrap();
        assert_eq!(configuration.database().unwrap().url, URL, "{source}");
        let line = configuration.shown().into_iter().find(|line| line.name == "DATABASE_URL");
        let line = line.unwrap();
        assert_eq!(line.value.as_deref(), Some("bank:[redacted]@db.example:5432/bank"));
        assert_eq!(line.source, source);
    }
}

#[test]
fn an_alias_and_a_part_are_sealed_for_the_settings_own_name() {
    let secret = "correct-horse-battery-staple-9-violin";
    let sources = environment(&[
        ("ENCRYPTION_KEY", ROOT),
        ("DB_HOST", "db.example"),
        ("DB_PASSWORD", &sealed("DB_PASSWORD", "hush-9137", ROOT)),
        ("JWT_SECRET", &sealed("JWT_SECRET", secret, ROOT)),
    ]);
    let configuration = read(&sources);
    configuration.check_serving().unwrap();
    assert_eq!(configuration.token_secret().unwrap().expose(), secret.as_bytes());
    let database = configuration.database().unwrap().connection_config().unwrap();
    assert_eq!(database.get_password(), Some(&b"hush-9137"[..]));
}

#[test]
fn a_sealed_text_that_does_not_open_is_a_fault_of_its_setting() {
    let url = sealed("DATABASE_URL", URL, ROOT);
    let root = vault::RootKey::parse(ROOT).unwrap().derive("config-seal");
    let seal = |bytes: &[u8]| {
        let content = SecretBytes::from_slice(bytes);
        vault::sealed_text::seal(&root, "DATABASE_URL", &content).unwrap()
    };
    let table = [
        (url.clone(), Some(OTHER_ROOT), "was sealed under another ENCRYPTION_KEY"),
        (url.clone(), Some("short"), "is sealed, and ENCRYPTION_KEY is not of the form"),
        (url.clone(), None, "is sealed, and there is no ENCRYPTION_KEY"),
        (sealed("DATABASE_OWNER_URL", URL, ROOT), Some(ROOT), "sealed for another setting"),
        (format!("{}AAAA", &url[..url.len() - 4]), Some(ROOT), "was altered"),
        (url[..40].to_owned(), Some(ROOT), "is no whole text"),
        ("sealed:v2:AAAA".to_owned(), Some(ROOT), "is no whole text"),
        (seal(b"aws-sm://database#url"), Some(ROOT), "leads to another reference"),
        (seal(url.as_bytes()), Some(ROOT), "leads to another reference"),
        (seal(&[0xff; 9]), Some(ROOT), "is no text"),
    ];
    for (text, root, expected) in table {
        let mut pairs = vec![("DATABASE_URL", text.as_str())];
        pairs.extend(root.map(|root| ("ENCRYPTION_KEY", root)));
        let faults = read(&environment(&pairs)).check_form().unwrap_err();
        let mine: Vec<_> =
            faults.0.iter().filter(|fault| fault.setting == "DATABASE_URL").collect();
        assert_eq!(mine.len(), 1, "{faults}");
        assert!(mine[0].message.contains(expected), "{expected}: {faults}");
        assert!(!faults.to_string().contains(&text[..20.min(text.len())]), "{faults}");
    }
}

#[test]
fn what_opens_to_the_wrong_form_is_a_fault_as_if_it_stood_there() {
    let root = vault::RootKey::parse(ROOT).unwrap().derive("config-seal");
    let content = SecretBytes::from_slice(b"mysql://hush");
    let text = vault::sealed_text::seal(&root, "DATABASE_URL", &content).unwrap();
    let text = fault(&environment(&[("ENCRYPTION_KEY", ROOT), ("DATABASE_URL", &text)]));
    assert!(text.contains("DATABASE_URL must be"), "{text}");
}

#[test]
fn roots_and_what_is_no_secret_are_not_sealed() {
    let configuration = Configuration::read(&environment(&[("ENCRYPTION_KEY", ROOT)]));
    let refused = |name: &str, text: &str| {
        configuration.seal(settings::find(name).unwrap(), text).unwrap_err().to_string()
    };
    assert!(refused("ENCRYPTION_KEY", OTHER_ROOT).contains("is a root and cannot be sealed"));
    assert!(refused("FIELD_ENCRYPTION_KEY", OTHER_ROOT).contains("is a root"));
    assert!(refused("LOG_LEVEL", "debug").contains("is no secret"));
    assert!(refused("DATABASE_URL", "mysql://hush").contains("must be: PostgreSQL URL"));
    let again = sealed("DB_PASSWORD", "hush-9137", ROOT);
    assert!(refused("DB_PASSWORD", &again).contains("already"));
    let nothing = Configuration::read(&environment(&[]));
    let setting = settings::find("DATABASE_URL").unwrap();
    let missing = nothing.seal(setting, URL).unwrap_err().to_string();
    assert!(missing.contains("ENCRYPTION_KEY is not set"), "{missing}");

    for name in ["ENCRYPTION_KEY", "FIELD_ENCRYPTION_KEY"] {
        let text = sealed("DB_PASSWORD", "hush-9137", ROOT);
        let faults = read(&environment(&[(name, &text)])).check_form().unwrap_err().to_string();
        assert!(faults.contains(&format!("{name} is a root and cannot be sealed")), "{faults}");
    }
    let plain =
        environment(&[("ENCRYPTION_KEY", ROOT), ("DATABASE_URL", URL), ("SMS_FROM", &again)]);
    let faults = read(&plain).check_form().unwrap_err().to_string();
    assert!(faults.contains("SMS_FROM is no secret"), "{faults}");
}

#[test]
fn references_are_followed_before_anything_is_checked() {
    let root = ("ENCRYPTION_KEY", ROOT);
    for (text, source) in [
        ("aws-sm://database#url", "environment, aws-sm"),
        ("aws-sm://sealed", "environment, sealed"),
    ] {
        let configuration = read(&environment(&[root, ("DATABASE_URL", text)]));
        configuration.check_serving().unwrap();
        assert_eq!(configuration.database().unwrap().url, URL);
        let line = configuration.shown().into_iter().find(|line| line.name == "DATABASE_URL");
        assert_eq!(line.unwrap().source, source);
    }
    // A root comes as bytes, and opens what was sealed under it.
    let bytes: Vec<u8> = (0..32).map(|byte| byte * 7 + 3).collect();
    let url = sealed("DATABASE_URL", URL, &STANDARD.encode(bytes));
    let configuration =
        read(&environment(&[("ENCRYPTION_KEY", "aws-kms://AQIDBA=="), ("DATABASE_URL", &url)]));
    configuration.check_serving().unwrap();
    assert_eq!(configuration.database().unwrap().url, URL);
    // A weak secret is as weak in a store.
    let weak = environment(&[
        ("ENV", "production"),
        root,
        ("DATABASE_URL", URL),
        ("JWT_SECRET_KEY", "azure-kv://bank/password"),
    ]);
    let faults = read(&weak).check_serving().unwrap_err().to_string();
    assert!(faults.contains("JWT_SECRET_KEY has less than 256 bits"), "{faults}");
}

#[test]
fn a_reference_that_leads_nowhere_is_one_fault_of_its_setting() {
    let table = [
        ("aws-sm://elsewhere", "is aws-sm://elsewhere, which is not there"),
        ("aws-sm://", "must be: aws-sm://name"),
        ("aws-sm://binary", "is aws-sm://binary, which holds no text"),
        ("aws-sm://onwards", "leads to another reference"),
        ("azure-kv://bank", "must be: azure-kv://vault/name"),
    ];
    for (text, expected) in table {
        let told = fault(&environment(&[("ENCRYPTION_KEY", ROOT), ("DATABASE_URL", text)]));
        assert!(told.contains(&format!("DATABASE_URL {expected}")), "{expected}: {told}");
    }
    let told = fault(&environment(&[
        ("DATABASE_URL", URL),
        ("ENCRYPTION_KEY", "azure-kv://bank/not-a-key"),
    ]));
    assert!(told.contains("ENCRYPTION_KEY must be: 32 bytes"), "{told}");
    let told =
        fault(&environment(&[("DATABASE_URL", URL), ("ENCRYPTION_KEY", "azure-kv://bank/gone")]));
    assert!(told.contains("ENCRYPTION_KEY is azure-kv://bank/gone, which is not there"), "{told}");
}

#[test]
fn only_the_value_that_wins_is_looked_up() {
    let looked_up = std::cell::RefCell::new(Vec::new());
    let mut sources = environment(&[("ENCRYPTION_KEY", ROOT), ("DATABASE_URL", URL)]);
    sources.toml =
        Some((PathBuf::from("a.toml"), "database_url = \"aws-sm://database#url\"\n".to_owned()));
    let configuration = Configuration::read_with(&sources, &|reference| {
        looked_up.borrow_mut().push(reference.to_string());
        kept(reference)
    });
    configuration.check_serving().unwrap();
    assert!(looked_up.borrow().is_empty(), "{looked_up:?}");
}
