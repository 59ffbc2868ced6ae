//! Owns where values come from and which one wins: environment, then `.env` (in
//! development), then a TOML file, then the default. It knows no setting's meaning.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::opening::{self, Fetch};
use super::running::Running;
use super::settings::{self, Setting};
use super::{Fault, Faults, value};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The process environment.
    Environment,
    /// A `.env` file.
    DotEnv(PathBuf),
    /// A TOML file.
    Toml(PathBuf),
    /// The development installation that runs in a folder of this one.
    Running(PathBuf),
    /// The table.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => formatter.write_str("environment"),
            Self::DotEnv(path) | Self::Toml(path) => path.display().fmt(formatter),
            Self::Running(path) => write!(formatter, "running installation ({})", path.display()),
            Self::Default => formatter.write_str("default"),
        }
    }
}

/// The raw sources, so that tests need neither environment nor files.
#[derive(Default)]
pub struct Sources {
    /// The process environment: foreign names are none of our business.
    pub environment: BTreeMap<String, String>,
    /// `.env`, if there is one: its path and text.
    pub dot_env: Option<(PathBuf, String)>,
    /// The file of `--config`, if given: its path and text.
    pub toml: Option<(PathBuf, String)>,
    /// The development installation to fall back to where no database is named.
    pub running: Option<Running>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Sources {
    /// The environment of this process, `.env` of the current folder, and a TOML file.
    pub fn of_process(toml: Option<&Path>) -> Result<Self, Faults> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let dot_env =
            std::fs::read_to_string(".env").ok().map(|text| (PathBuf::from(".env"), text));
        let toml =
            toml.map(|path| read(path).map(|text| (path.to_path_buf(), text))).transpose()?;
        Ok(Self { environment, dot_env, toml, running: None })
    }

    /// The same, falling back to the development installation that runs in a
    /// folder, in development and where no database is named.
    #[must_use]
    pub fn or_running(mut self, folder: &Path) -> Self {
        self.running = Running::in_folder(folder);
        self
    }
}

fn read(path: &Path) -> Result<String, Faults> {
    std::fs::read_to_string(path).map_err(|error| {
        Faults::one(Fault::new("--config", format!("cannot read {}: {error}", path.display())))
    })
}

/// A value that was found.
#[derive(Clone)]
pub struct Found {
    /// Its text; a database URL without the driver suffix of `SQLAlchemy`.
    pub text: Zeroizing<String>,
    /// Where.
    pub origin: Origin,
    /// Under which name: the setting's, an alias, or `NAME_FILE`.
    pub key: String,
    /// The file that `NAME_FILE` names.
    pub file: Option<PathBuf>,
    /// What was set in its place: `sealed`, or the store that a reference leads to.
    pub through: Option<&'static str>,
}

/// All values by the settings' names. A setting without value and default is absent.
pub(super) type Values = BTreeMap<&'static str, Found>;

/// What was found: values in the clear, and what is wrong.
pub(super) struct Resolved {
    pub(super) values: Values,
    pub(super) faults: Vec<Fault>,
    /// Settings that are set, to something that leads to no value.
    pub(super) unopened: BTreeSet<&'static str>,
}

/// Finds every setting's value, and everything that is wrong with where they stand.
pub(super) fn resolve(sources: &Sources, fetch: &Fetch<'_>) -> Resolved {
    let mut faults = Vec::new();
    let mut layers = vec![(Origin::Environment, sources.environment.clone())];
    let toml = sources.toml.as_ref().map(|(path, text)| {
        (
            Origin::Toml(path.clone()),
            known_only(read_toml(text, path, &mut faults), path, &mut faults),
        )
    });
    if let Some((path, text)) = &sources.dot_env
        && is_development(&sources.environment, toml.as_ref().map(|(_, table)| table))
    {
        let values = known_only(read_dot_env(text, path, &mut faults), path, &mut faults);
        if values
            .get("ENV")
            .or_else(|| values.get("ENVIRONMENT"))
            .is_some_and(|env| env != "development")
        {
            faults.push(Fault::new(
                "ENV",
                format!("{} is read in development only; set ENV elsewhere", path.display()),
            ));
        }
        layers.push((Origin::DotEnv(path.clone()), values));
    }
    layers.extend(toml);
    let mut values = Values::new();
    for setting in settings::all() {
        let candidates = candidates(setting, &layers, &mut faults);
        if let Some(found) = choose(setting, candidates, &mut faults) {
            values.insert(setting.name, found);
        }
    }
    if let Some(running) = &sources.running
        && !names_a_database(&values)
        && is_development(&sources.environment, layers_of_toml(&layers))
    {
        attach(running, &mut values);
    }
    let unopened = opening::open(&mut values, &mut faults, fetch);
    compose_database_url(&mut values, &mut faults);
    Resolved { values, faults, unopened }
}

fn names_a_database(values: &Values) -> bool {
    values.contains_key("DATABASE_URL") || PARTS.iter().any(|part| values.contains_key(part))
}

fn layers_of_toml(
    layers: &[(Origin, BTreeMap<String, String>)],
) -> Option<&BTreeMap<String, String>> {
    layers.iter().find(|(origin, _)| matches!(origin, Origin::Toml(_))).map(|(_, table)| table)
}

/// A key given beside it wins, as it did when the installation was started.
fn attach(running: &Running, values: &mut Values) {
    for (name, text) in running.values() {
        if values.get(name).is_none_or(|found| found.origin == Origin::Default) {
            let found = Found {
                text: Zeroizing::new(text.to_owned()),
                origin: Origin::Running(running.path.clone()),
                key: name.to_owned(),
                file: None,
                through: None,
            };
            values.insert(name, found);
        }
    }
}

fn is_development(
    environment: &BTreeMap<String, String>,
    toml: Option<&BTreeMap<String, String>>,
) -> bool {
    let names = ["ENV", "ENVIRONMENT"];
    let layers = [Some(environment), toml];
    let set = layers
        .into_iter()
        .flatten()
        .find_map(|layer| names.iter().find_map(|name| layer.get(*name)));
    set.is_none_or(|value| value.eq_ignore_ascii_case("development"))
}

fn candidates(
    setting: &Setting,
    layers: &[(Origin, BTreeMap<String, String>)],
    faults: &mut Vec<Fault>,
) -> Vec<Found> {
    let mut found = Vec::new();
    for (origin, layer) in layers {
        for name in std::iter::once(setting.name).chain(setting.aliases.iter().copied()) {
            // An empty variable is how compose files say "not set".
            if let Some(text) = layer.get(name).filter(|text| !text.trim().is_empty()) {
                found.push(Found {
                    text: tidy(setting, text),
                    origin: origin.clone(),
                    key: name.to_owned(),
                    file: None,
                    through: None,
                });
            }
            let file_key = format!("{name}_FILE");
            if setting.secret
                && let Some(path) = layer.get(&file_key).filter(|path| !path.is_empty())
            {
                match std::fs::read_to_string(path) {
                    Ok(text) => {
                        let text = Zeroizing::new(text);
                        found.push(Found {
                            text: tidy(setting, &text),
                            origin: origin.clone(),
                            key: file_key,
                            file: Some(PathBuf::from(path)),
                            through: None,
                        });
                    }
                    Err(error) => faults
                        .push(Fault::new(setting.name, format!("{file_key}: {path}: {error}"))),
                }
            }
        }
    }
    found
}

pub(super) fn tidy(setting: &Setting, text: &str) -> Zeroizing<String> {
    let text = text.trim();
    let is_url = setting.kind == value::Kind::DatabaseUrl;
    Zeroizing::new(if is_url { value::plain_database_url(text) } else { text.to_owned() })
}

/// The first in order of precedence. Two names of one setting that disagree are
/// a fault wherever they stand: nobody can say which was meant.
fn choose(setting: &Setting, candidates: Vec<Found>, faults: &mut Vec<Fault>) -> Option<Found> {
    let default = setting.default.map(|text| Found {
        text: Zeroizing::new(text.to_owned()),
        origin: Origin::Default,
        key: setting.name.to_owned(),
        file: None,
        through: None,
    });
    let mut candidates = candidates.into_iter();
    let Some(first) = candidates.next() else { return default };
    if let Some(other) =
        candidates.find(|other| other.key != first.key && *other.text != *first.text)
    {
        let message = format!(
            "{} ({}) and {} ({}) are set to different values; keep one",
            first.key, first.origin, other.key, other.origin
        );
        faults.push(Fault::new(setting.name, message));
    }
    Some(first)
}

const PARTS: [&str; 5] = ["DB_USER", "DB_PASSWORD", "DB_HOST", "DB_PORT", "DB_NAME"];

/// Seed 004 gives the database in parts.
fn compose_database_url(values: &mut Values, faults: &mut Vec<Fault>) {
    let Some(origin) =
        PARTS.iter().find_map(|part| values.get(part)).map(|found| found.origin.clone())
    else {
        return;
    };
    let part = |name: &str, default: &str| {
        let text = values.get(name).map_or(default, |found| found.text.as_str());
        Zeroizing::new(percent_encode(text))
    };
    let password = part("DB_PASSWORD", "");
    let separator = if password.is_empty() { "" } else { ":" };
    let url = Zeroizing::new(format!(
        "postgresql://{}{separator}{}@{}:{}/{}",
        *part("DB_USER", "strongroom_app"),
        *password,
        *part("DB_HOST", "localhost"),
        *part("DB_PORT", "5432"),
        *part("DB_NAME", "strongroom"),
    ));
    match values.get("DATABASE_URL") {
        Some(found) if value::database(&found.text) != value::database(&url) => {
            let message = format!(
                "{} ({}) and DB_… ({origin}) name different databases; keep one",
                found.key, found.origin
            );
            faults.push(Fault::new("DATABASE_URL", message));
        }
        Some(_) => {}
        None => {
            values.insert(
                "DATABASE_URL",
                Found { text: url, origin, key: "DB_…".to_owned(), file: None, through: None },
            );
        }
    }
}

fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// Drops and reports names that no setting has: a mistyped one must not pass unseen.
fn known_only(
    values: BTreeMap<String, String>,
    path: &Path,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, String> {
    let is_known = |name: &str| {
        let file_of_secret = name
            .strip_suffix("_FILE")
            .and_then(settings::find)
            .is_some_and(|setting| setting.secret);
        settings::find(name).is_some() || file_of_secret
    };
    let (known, unknown): (BTreeMap<_, _>, BTreeMap<_, _>) =
        values.into_iter().partition(|(name, _)| is_known(name));
    faults.extend(unknown.into_keys().map(|name| {
        let message = format!("no such setting, in {}", path.display());
        Fault::new(name, message)
    }));
    known
}

/// `NAME=value` lines; `#` comments, `export`, single and double quotes.
fn read_dot_env(text: &str, path: &Path, faults: &mut Vec<Fault>) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=') {
            Some((name, value)) => {
                values.insert(name.trim().to_owned(), unquote(value.trim()));
            }
            None => faults
                .push(Fault::new(format!("{}:{}", path.display(), index + 1), "is not NAME=value")),
        }
    }
    values
}

fn unquote(value: &str) -> String {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote)
            && let Some((inside, _)) = rest.split_once(quote)
        {
            return inside.to_owned();
        }
    }
    value.split(" #").next().unwrap_or_default().trim_end().to_owned()
}

/// A flat table of lower-case names; lists are arrays or comma-separated text.
fn read_toml(text: &str, path: &Path, faults: &mut Vec<Fault>) -> BTreeMap<String, String> {
    let table = match text.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => {
            // The parser's message would quote the line, which may hold a secret.
            let place = error.span().map_or(0, |span| text[..span.start].lines().count());
            faults.push(Fault::new(format!("{}:{place}", path.display()), "is not TOML"));
            return BTreeMap::new();
        }
    };
    let mut values = BTreeMap::new();
    for (name, value) in table {
        match plain_text(&value) {
            Some(text) if name == name.to_lowercase() => {
                values.insert(name.to_uppercase(), text);
            }
            Some(_) => faults
                .push(Fault::new(name, format!("must be in lower case, in {}", path.display()))),
            None => faults.push(Fault::new(
                name,
                format!(
                    "must be text, a number, a truth value or a list of text, in {}",
                    path.display()
                ),
            )),
        }
    }
    values
}

fn plain_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(list) => {
            let words: Option<Vec<_>> = list.iter().map(toml::Value::as_str).collect();
            Some(words?.join(","))
        }
        _ => None,
    }
}
