//! `strongroom config`: shows and explains what was set, and never a secret.

use std::io::Read as _;

use clap::Subcommand;
use zeroize::Zeroizing;

use super::exit::Usage;
use super::output::Output;
use crate::config::{Configuration, settings};

/// No secret of a configuration is longer.
const SEALED_BYTES_MAX: usize = 16_384;

/// Inspect the configuration.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every value with its source, secrets redacted, and all faults.
    Check {
        /// Judge as if `ENV` were `production`.
        #[arg(long)]
        production: bool,
    },
    /// Say what a setting does, what it accepts, its default, and what it is now and why.
    Explain {
        /// Its name or an alias.
        name: String,
    },
    /// Seal a secret setting's value, read from standard input, under `ENCRYPTION_KEY`; the text that is printed may
    /// stand in its place, for this setting alone.
    Seal {
        /// The setting's name or an alias.
        name: String,
    },
}

pub(super) fn run(
    command: &Command,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    match command {
        Command::Check { production } => {
            output.list(&["setting", "value", "source"], &configuration.shown(), |shown| {
                vec![
                    shown.name.to_owned(),
                    shown.value.clone().unwrap_or_default(),
                    shown.source.clone(),
                ]
            })?;
            if *production {
                configuration.check_production()?;
            } else {
                configuration.check_serving()?;
            }
            Ok(())
        }
        Command::Explain { name } => explain(name, configuration, output),
        Command::Seal { name } => output.text(&seal(name, configuration)?),
    }
}

/// Never from the command line: every process on the machine may read that.
fn seal(name: &str, configuration: &Configuration) -> anyhow::Result<String> {
    let wanted = name.to_uppercase();
    let setting = settings::find(&wanted).ok_or_else(|| unknown(name, &wanted))?;
    let mut text = Zeroizing::new(String::with_capacity(SEALED_BYTES_MAX));
    let most = u64::try_from(SEALED_BYTES_MAX)? + 1;
    std::io::stdin().take(most).read_to_string(&mut text)?;
    match text.len() {
        _ if text.trim().is_empty() => {
            Err(Usage("standard input holds no value".to_owned()).into())
        }
        length if length > SEALED_BYTES_MAX => {
            Err(Usage(format!("standard input holds more than {SEALED_BYTES_MAX} bytes")).into())
        }
        _ => Ok(configuration.seal(setting, &text)?),
    }
}

#[derive(serde::Serialize)]
struct Explained {
    setting: &'static str,
    does: &'static str,
    accepts: String,
    default: &'static str,
    value: String,
    source: String,
    set_by: String,
    group: &'static str,
}

fn explain(name: &str, configuration: &Configuration, output: Output) -> anyhow::Result<()> {
    let wanted = name.to_uppercase();
    let base = wanted.strip_suffix("_FILE").unwrap_or(&wanted);
    let found = settings::find(&wanted).or_else(|| settings::find(base));
    let setting = found.ok_or_else(|| unknown(name, base))?;
    let group = settings::GROUPS
        .iter()
        .find(|group| group.settings.iter().any(|one| one.name == setting.name))
        .map_or("", |group| group.title);
    let shown = configuration.shown().into_iter().find(|shown| shown.name == setting.name);
    let (value, source) = shown
        .map(|shown| (shown.value.unwrap_or_else(|| "not set".to_owned()), shown.source))
        .unwrap_or_default();
    output.one(&Explained {
        setting: setting.name,
        does: setting.documentation,
        accepts: setting.kind.describe(),
        default: setting.default.unwrap_or("none"),
        value,
        source,
        set_by: ways_to_set(setting),
        group,
    })
}

/// Every way to set it, the strongest first.
fn ways_to_set(setting: &settings::Setting) -> String {
    let names = || std::iter::once(setting.name).chain(setting.aliases.iter().copied());
    let mut ways: Vec<String> = names().map(|name| format!("{name}=…")).collect();
    if setting.secret {
        ways.extend(names().map(|name| format!("{name}_FILE=/path")));
    }
    if setting.secret {
        ways.push(
            "a text of `config seal`, aws-sm://…, aws-kms://… or azure-kv://… in its place"
                .to_owned(),
        );
    }
    ways.push(format!("{} = … in --config FILE", setting.name.to_lowercase()));
    ways.join(", ")
}

/// Names the setting that was probably meant.
fn unknown(name: &str, wanted: &str) -> Usage {
    let nearest = settings::all()
        .flat_map(|setting| std::iter::once(setting.name).chain(setting.aliases.iter().copied()))
        .map(|known| (distance(wanted, known), known))
        .min()
        .filter(|(steps, known)| *steps <= 3.max(known.len() / 3));
    let meant = nearest.map(|(_, known)| format!(" did you mean {known}?")).unwrap_or_default();
    Usage(format!("there is no setting {name};{meant} `strongroom config check` lists all"))
}

/// How many letters must be put in, taken out or replaced (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (position, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = position + 1;
        for (column, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(row[column + 1] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, unknown, ways_to_set};
    use crate::config::settings;

    #[test]
    fn mistyped_names_are_answered_with_the_right_one() {
        let table = [
            ("DATABSE_URL", Some("DATABASE_URL")),
            ("LOG_LEVLE", Some("LOG_LEVEL")),
            ("ENCRYPTION_KEYS", Some("ENCRYPTION_KEY")),
            ("COFFEE", None),
        ];
        for (given, meant) in table {
            let words = unknown(given, given).0;
            match meant {
                Some(name) => assert!(words.contains(&format!("did you mean {name}?")), "{words}"),
                None => assert!(!words.contains("did you mean"), "{words}"),
            }
        }
        assert_eq!((distance("abc", "abc"), distance("", "ab"), distance("ab", "b")), (0, 2, 1));
    }

    #[test]
    fn secrets_may_come_from_files_and_plain_settings_not() {
        let ways = |name: &str| settings::find(name).map(ways_to_set).unwrap_or_default();
        assert!(ways("ENCRYPTION_KEY").contains("ENCRYPTION_KEY_FILE=/path"));
        assert!(!ways("LOG_LEVEL").contains("_FILE"));
        assert!(ways("CORS_ORIGINS").starts_with("CORS_ORIGINS=…, ALLOWED_ORIGINS=…"));
    }
}
