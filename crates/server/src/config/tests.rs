//! Table-driven: sources and what becomes of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Configuration, Deployment, Sources, markdown};

const GOOD_KEY: &str = "q3Zf0v9m5N8s1XyB7LdKcTgJhR2WuEaP4oYi6MbVnQk=";
const OTHER_KEY: &str = "Zk8vQ2mN5sX1yB7LdKcTgJhR0WuEaP4oYi6MbVnq3f8=";

fn environment(pairs: &[(&str, &str)]) -> Sources {
    Sources { environment: map(pairs), ..Sources::default() }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn serving_faults(sources: &Sources) -> Vec<String> {
    let faults = Configuration::read(sources).check_serving();
    faults.err().map_or_else(Vec::new, |faults| {
        faults.0.into_iter().map(|fault| format!("{} {}", fault.setting, fault.message)).collect()
    })
}

fn shown(configuration: &Configuration, name: &str) -> (Option<String>, String) {
    let line = configuration.shown().into_iter().find(|line| line.name == name).unwrap();
    (line.value, line.source)
}

#[test]
fn the_first_place_wins() {
    let mut sources = environment(&[("LOG_LEVEL", "warn")]);
    sources.dot_env = Some((
        PathBuf::from(".env"),
        "LOG_LEVEL=debug\nLOG_FORMAT='text' # for people\n".to_owned(),
    ));
    sources.toml = Some((PathBuf::from("a.toml"), "log_format = \"json\"\nmax_connections = 64\ncors_origins = [\"https://a.example\", \"https://b.example\"]".to_owned()));
    let configuration = Configuration::read(&sources);
    configuration.check_form().unwrap();
    assert_eq!(
        shown(&configuration, "LOG_LEVEL"),
        (Some("warn".to_owned()), "environment".to_owned())
    );
    assert_eq!(shown(&configuration, "LOG_FORMAT"), (Some("text".to_owned()), ".env".to_owned()));
    assert_eq!(
        shown(&configuration, "MAX_CONNECTIONS"),
        (Some("64".to_owned()), "a.toml".to_owned())
    );
    assert_eq!(
        shown(&configuration, "DATABASE_POOL_SIZE"),
        (Some("20".to_owned()), "default".to_owned())
    );
    assert_eq!(configuration.cors_origins(), ["https://a.example", "https://b.example"]);
    assert_eq!(configuration.deployment(), Deployment::Development);
}

#[test]
fn dot_env_is_for_development_only() {
    let dot_env = Some((PathBuf::from(".env"), "LOG_LEVEL=debug\n".to_owned()));
    let sources = Sources { dot_env, ..environment(&[("ENVIRONMENT", "Staging")]) };
    assert_eq!(shown(&Configuration::read(&sources), "LOG_LEVEL").1, "default");
    let sources = Sources {
        dot_env: Some((PathBuf::from(".env"), "ENV=production\n".to_owned())),
        ..environment(&[])
    };
    assert!(
        Configuration::read(&sources)
            .check_form()
            .unwrap_err()
            .to_string()
            .contains("read in development only")
    );
}

#[test]
fn unknown_names_are_faults_in_files_and_not_in_the_environment() {
    let mut sources = environment(&[("HOME", "/root"), ("LOG_LEVLE", "debug")]);
    sources.dot_env = Some((
        PathBuf::from(".env"),
        "LOG_LEVLE=debug\nLOG_LEVEL_FILE=/etc/hostname\nnonsense\n".to_owned(),
    ));
    sources.toml = Some((
        PathBuf::from("a.toml"),
        "log_levle = \"debug\"\nLOG_FORMAT = \"text\"\n[table]\n".to_owned(),
    ));
    let faults = Configuration::read(&sources).check_form().unwrap_err().to_string();
    for expected in [
        "LOG_LEVLE no such setting, in .env",
        "LOG_LEVEL_FILE no such setting",
        ".env:3 is not NAME=value",
        "LOG_LEVLE no such setting, in a.toml",
        "LOG_FORMAT must be in lower case",
        "table must be text",
    ] {
        assert!(faults.contains(expected), "{expected}: {faults}");
    }
}

#[test]
fn names_of_one_setting_must_agree() {
    let same = environment(&[("JWT_SECRET", GOOD_KEY), ("JWT_SECRET_KEY", GOOD_KEY)]);
    Configuration::read(&same).check_form().unwrap();
    for pairs in [
        [("JWT_SECRET", GOOD_KEY), ("JWT_SECRET_KEY", OTHER_KEY)],
        [("ENV", "staging"), ("ENVIRONMENT", "production")],
        [("DATABASE_URL", "postgres://a@b/c"), ("DB_HOST", "elsewhere")],
    ] {
        let faults =
            Configuration::read(&environment(&pairs)).check_form().unwrap_err().to_string();
        assert!(faults.contains("different"), "{faults}");
        assert!(!faults.contains(GOOD_KEY), "{faults}");
    }
}

#[test]
fn databases_are_given_as_a_url_or_in_parts() {
    let alchemy = Configuration::read(&environment(&[(
        "DATABASE_URL",
        "postgresql+asyncpg://dev:pw@db:5433/bank",
    )]));
    alchemy.check_form().unwrap();
    assert_eq!(alchemy.database().unwrap().url, "postgresql://dev:pw@db:5433/bank");
    assert_eq!(shown(&alchemy, "DATABASE_URL").0.unwrap(), "dev:[redacted]@db:5433/bank");
    let parts = [
        ("DB_USER", "some one"),
        ("DB_PASSWORD", "p@ss/w:rd"),
        ("DB_HOST", "/run/postgresql"),
        ("DB_NAME", "bank"),
    ];
    let parts = Configuration::read(&environment(&parts));
    parts.check_form().unwrap();
    let config = parts.database().unwrap().connection_config().unwrap();
    assert_eq!(config.get_user(), Some("some one"));
    assert_eq!(config.get_password(), Some(&b"p@ss/w:rd"[..]));
    assert!(super::value::is_private_database(&parts.database().unwrap().url));
}

#[test]
fn secrets_come_from_files_too() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{GOOD_KEY}\n")).unwrap();
    let path = file.path().to_str().unwrap();
    let configuration = Configuration::read(&environment(&[("ENCRYPTION_KEY_FILE", path)]));
    configuration.check_form().unwrap();
    configuration.root_keys().unwrap();
    assert_eq!(
        shown(&configuration, "ENCRYPTION_KEY"),
        (Some("[redacted]".to_owned()), "environment (ENCRYPTION_KEY_FILE)".to_owned())
    );
    let missing = Configuration::read(&environment(&[("ENCRYPTION_KEY_FILE", "/nowhere/at/all")]));
    assert!(missing.check_form().unwrap_err().to_string().contains("/nowhere/at/all"));
}

#[test]
fn values_of_the_wrong_form_are_named_without_being_shown() {
    let pairs = [
        ("MAX_CONNECTIONS", "many"),
        ("DATABASE_POOL_SIZE", "0"),
        ("LISTEN_ADDRESS", "8080"),
        ("PUBLIC_URL", "https://bank.example/path"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("DEBUG", "maybe"),
        ("ENCRYPTION_KEY", "not-a-key-at-all"),
        ("DATABASE_URL", "mysql://a"),
        ("JWT_ALGORITHM", "none"),
        ("LOG_LEVEL", "a=b=c"),
    ];
    let faults = Configuration::read(&environment(&pairs)).check_form().unwrap_err();
    let named: Vec<_> = faults.0.iter().map(|fault| fault.setting.as_str()).collect();
    assert!(pairs.iter().all(|(name, _)| named.contains(name)), "{faults}");
    assert!(!faults.to_string().contains("not-a-key"), "{faults}");
}

#[test]
fn production_lists_everything_that_is_unsafe_at_once() {
    let pairs = [
        ("ENV", "production"),
        ("DEBUG", "true"),
        ("DATABASE_URL", "postgresql+asyncpg://prod:postgres@db-prod:5432/bank?sslmode=disable"),
        ("ENCRYPTION_KEY", "0000000000000000000000000000000000000000000000000000000000000000"),
        ("JWT_SECRET_KEY", "changeme-changeme-changeme-changeme"),
        ("CORS_ORIGINS", "http://app.example"),
    ];
    let faults = serving_faults(&environment(&pairs)).join("\n");
    for expected in [
        "DEBUG is for development only",
        "DATABASE_URL is not encrypted",
        "DATABASE_URL has a default password",
        "ENCRYPTION_KEY follows a pattern",
        "JWT_SECRET_KEY holds a word of an example",
        "PUBLIC_URL must begin with https",
        "TRUSTED_PROXIES is not set",
        "CORS_ORIGINS must all",
    ] {
        assert!(faults.contains(expected), "{expected}: {faults}");
    }
    let nothing = serving_faults(&environment(&[("ENV", "staging")])).join("\n");
    assert!(
        nothing.contains("DATABASE_URL is not set")
            && nothing.contains("ENCRYPTION_KEY is not set"),
        "{nothing}"
    );
}

#[test]
fn a_safe_production_passes() {
    let pairs = [
        ("ENV", "production"),
        ("DATABASE_URL", "postgresql:///bank?host=/run/postgresql&user=strongroom"),
        ("ENCRYPTION_KEY", GOOD_KEY),
        ("FIELD_ENCRYPTION_KEY", OTHER_KEY),
        ("PUBLIC_URL", "https://bank.example"),
        ("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8"),
    ];
    assert_eq!(serving_faults(&environment(&pairs)), Vec::<String>::new());
    let database_faults = |url: &str| {
        let mut others = pairs;
        others[1].1 = url;
        serving_faults(&environment(&others)).join("\n")
    };
    assert_eq!(database_faults("postgresql://one:p-9137@db.example/bank?sslmode=verify-full"), "");
    for mode in ["disable", "require", "verify-ca"] {
        let url = format!("postgresql://one:p-9137@db.example/bank?sslmode={mode}");
        assert!(database_faults(&url).contains("say sslmode=verify-full"), "{mode}");
    }
    let dialled = "postgresql:///bank?host=/run/postgresql&hostaddr=10.0.0.1&user=strongroom";
    assert!(database_faults(dialled).contains("not encrypted"));
    let unknown = "postgresql://one:p-9137@db.example/bank?sslmode=prefer";
    assert!(database_faults(unknown).contains("has an sslmode other than"));
    let mut same_key = pairs;
    same_key[3].1 = GOOD_KEY;
    assert!(serving_faults(&environment(&same_key)).join("\n").contains("same as ENCRYPTION_KEY"));
}

#[test]
fn weak_keys_are_known() {
    let table = [
        (GOOD_KEY, true),
        ("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", false),
        ("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", false),
        ("short", false),
        ("c2VjcmV0", false),
        ("this-is-the-secret-of-this-installation-42", false),
        ("correct-horse-battery-staple-9-violin", true),
    ];
    for (key, is_strong) in table {
        assert_eq!(super::safety::weakness(key).is_none(), is_strong, "{key}");
    }
}

#[test]
fn the_policy_of_new_tenants_may_be_overridden() {
    let pairs = [
        ("JWT_ALGORITHM", "eddsa"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "10"),
        ("API_RATE_LIMIT_PER_MINUTE", "7"),
    ];
    let overrides = Configuration::read(&environment(&pairs)).policy_overrides();
    assert_eq!(overrides.algorithm, Some(tenancy::policy::JwtAlgorithm::EdDSA));
    assert_eq!(overrides.access_lifetime_s, Some(600));
    assert_eq!(overrides.default_per_minute, Some(7));
    assert_eq!(overrides.refresh_lifetime_s, None);
}

#[test]
fn the_documentation_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == markdown(),
        "run: cargo run --bin strongroom -- docs configuration > docs/configuration.md"
    );
}

/// What is set, outside development, the setting at fault.
type Case<'a> = (&'a [(&'a str, &'a str)], bool, Option<&'a str>);

#[test]
fn messages_need_a_whole_server_and_outside_development_an_encrypted_one() {
    let smtp = ("SMTP_URL", "smtps://bank:pass%2Fword@mail.example");
    let from = ("SMTP_FROM", "no-reply@bank.example");
    let gateway =
        [("SMS_ACCOUNT_SID", "AC1"), ("SMS_AUTH_TOKEN", "t"), ("SMS_FROM", "+15005550006")];
    // what is set, outside development, the setting at fault
    let table: &[Case<'_>] = &[
        (&[], false, None),
        (&[smtp, from], true, None),
        (&[smtp], false, Some("SMTP_FROM is not set")),
        (&[from], false, Some("SMTP_URL is not set")),
        (&gateway, true, None),
        (&gateway[..2], false, Some("SMS_FROM is not set")),
        (&gateway[2..], false, Some("SMS_ACCOUNT_SID is not set")),
        (&[("SMTP_URL", "https://mail.example"), from], false, Some("SMTP_URL must be")),
        (&[smtp, ("SMTP_FROM", "Bank <no-reply@bank.example>")], false, Some("SMTP_FROM must be")),
        (&[("SMS_ACCOUNT_SID", "AC/../1")], false, Some("SMS_ACCOUNT_SID must be")),
        (&[("SMS_BASE_URL", "https://a:b@gateway.example")], false, Some("SMS_BASE_URL must be")),
        (&[("SMTP_URL", "smtp://localhost:1025?tls=none"), from], false, None),
        (
            &[("SMTP_URL", "smtp://localhost:1025?tls=none"), from],
            true,
            Some("SMTP_URL must use TLS"),
        ),
        (&[("SMS_BASE_URL", "http://gateway.example")], false, None),
        (
            &[("SMS_BASE_URL", "http://gateway.example")],
            true,
            Some("SMS_BASE_URL must begin with https"),
        ),
    ];
    for (pairs, strict, expected) in table {
        let mut pairs = pairs.to_vec();
        pairs.push(("ENV", if *strict { "production" } else { "development" }));
        let faults = serving_faults(&environment(&pairs));
        let found: Vec<_> = faults.iter().filter(|fault| fault.starts_with("SM")).collect();
        match expected {
            None => assert!(found.is_empty(), "{pairs:?}: {found:?}"),
            Some(expected) => assert!(
                found.iter().any(|fault| fault.starts_with(expected)),
                "{pairs:?}: {found:?}"
            ),
        }
        assert!(!found.iter().any(|fault| fault.contains("pass%2Fword")), "{found:?}");
    }
    let configuration = Configuration::read(&environment(&[smtp, from]));
    assert_eq!(
        shown(&configuration, "SMTP_URL").0.as_deref(),
        Some("smtps://bank:[redacted]@mail.example:465")
    );
}

#[test]
fn the_shared_store_is_named_whole_shown_redacted_and_safe_in_production() {
    let faults = |pairs: &[(&str, &str)]| {
        let faults = Configuration::read(&environment(pairs)).check_production().unwrap_err();
        let of_store = faults.0.into_iter().filter(|fault| fault.setting == "REDIS_URL");
        of_store.map(|fault| fault.message).collect::<Vec<_>>().join("; ")
    };
    // REDIS_URL, REDIS_PASSWORD, what production says of it
    let table = [
        ("redis://:kz81-vault-9@store.example", "", "is not encrypted"),
        ("rediss://store.example", "", "has no password; set REDIS_PASSWORD"),
        ("rediss://:kz81-vault-9@store.example", "", ""),
        ("rediss://store.example", "kz81-vault-9", ""),
        ("rediss://store.example", "ChangeMe", "has a default password"),
        ("unix:///run/redis/redis.sock", "", ""),
        ("rediss://:one@store.example", "two", "has another password than REDIS_PASSWORD"),
        ("store.example:6379", "", "must be: rediss://, redis:// or unix:// URL"),
        ("rediss://store.example/#insecure", "", "must be: rediss://, redis:// or unix:// URL"),
    ];
    for (url, password, expected) in table {
        let found = faults(&[("REDIS_URL", url), ("REDIS_PASSWORD", password)]);
        assert_eq!(
            found.split(':').next(),
            expected.split(':').next(),
            "{url} {password}: {found}"
        );
    }
    let configuration = Configuration::read(&environment(&[(
        "REDIS_URL",
        "redis://bob:hush@store.example:7000/2",
    )]));
    configuration.check_form().unwrap();
    let (value, _) = shown(&configuration, "REDIS_URL");
    assert_eq!(value.as_deref(), Some("redis://store.example:7000/2"));
    assert!(configuration.shared_store().unwrap().is_some());
    assert!(Configuration::read(&environment(&[])).shared_store().unwrap().is_none());
}

#[test]
fn witnesses_are_read_at_the_start_and_outside_development_spoken_to_over_tls() {
    let key = "witness.example/w1+";
    let cosigner = audit::cosignature::Cosigner::new("w.example/1", vault::NoteSigner::generate());
    let good = cosigner.unwrap().verifier().unwrap().to_text();
    let plain = format!("http://w.example+{good}");
    let encrypted = format!("https://w.example+{good}");
    let twice = format!("{encrypted},{encrypted}");
    let table = [
        (encrypted.as_str(), true, None),
        (plain.as_str(), false, None),
        (plain.as_str(), true, Some("AUDIT_WITNESSES must all begin with https://")),
        (twice.as_str(), false, Some("AUDIT_WITNESSES must not name a witness twice")),
        (key, false, Some("AUDIT_WITNESSES must")),
    ];
    for (setting, strict, expected) in table {
        let environment_name = if strict { "production" } else { "development" };
        let pairs = [("AUDIT_WITNESSES", setting), ("ENV", environment_name)];
        let faults = serving_faults(&environment(&pairs));
        let found: Vec<_> =
            faults.iter().filter(|fault| fault.starts_with("AUDIT_WITNESSES")).collect();
        match expected {
            None => assert!(found.is_empty(), "{setting}: {found:?}"),
            Some(expected) => {
                assert!(found.len() == 1 && found[0].starts_with(expected), "{setting}: {found:?}");
            }
        }
    }
    let configuration = Configuration::read(&environment(&[("AUDIT_WITNESSES", &encrypted)]));
    assert_eq!(configuration.witnesses()[0].name(), "w.example/1");
}

/// Settings, and the words of the fault that they are told to have.
type Told<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>);

#[test]
fn a_witness_that_is_the_anchor_is_one_that_is_asked() {
    let cosigner = audit::cosignature::Cosigner::new("w.example/1", vault::NoteSigner::generate());
    let witness = format!("https://w.example+{}", cosigner.unwrap().verifier().unwrap().to_text());
    let asked = ("AUDIT_WITNESSES", witness.as_str());
    let table: [Told<'_>; 5] = [
        (&[asked, ("AUDIT_ANCHOR", "witness:w.example/1")], None),
        (&[asked, ("AUDIT_ANCHOR", "file:/var/lib/anchor")], None),
        (&[asked, ("AUDIT_ANCHOR", "witness:w.example/2")], Some("must name one of")),
        (&[("AUDIT_ANCHOR", "witness:w.example/1")], Some("must name one of")),
        (&[asked, ("AUDIT_ANCHOR", "witness:")], Some("must be")),
    ];
    for (pairs, expected) in table {
        let faults = Configuration::read(&environment(pairs)).check_form();
        let told = faults.map_or_else(|faults| faults.to_string(), |()| String::new());
        match expected {
            None => assert_eq!(told, "", "{pairs:?}"),
            Some(words) => assert!(told.contains(words), "{pairs:?}: {told}"),
        }
    }
}
