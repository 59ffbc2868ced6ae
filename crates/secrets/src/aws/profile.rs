//! Owns the shared files of AWS' own tools: sections of `name = value`. Keys stand in the
//! credentials file, a region in it or in the configuration file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::credentials::Credentials;
use crate::Stores;

/// What a profile says.
pub(super) struct Profile {
    pub(super) credentials: Option<Credentials>,
    pub(super) region: Option<String>,
}

pub(super) fn read(stores: &Stores<'_>, name: &str) -> Profile {
    let text = |variable: &str, file: &str| {
        let home =
            || stores.variable("HOME").map(|home| PathBuf::from(home).join(".aws").join(file));
        let path = stores.variable(variable).map(PathBuf::from).or_else(home);
        let text = path.and_then(|path| std::fs::read_to_string(path).ok());
        Zeroizing::new(text.unwrap_or_default())
    };
    let credentials = text("AWS_SHARED_CREDENTIALS_FILE", "credentials");
    let configuration = text("AWS_CONFIG_FILE", "config");
    // The configuration file says `profile` before each name but the default's.
    let heading = if name == "default" { name.to_owned() } else { format!("profile {name}") };
    profile(&section(&credentials, name), &section(&configuration, &heading))
}

fn profile(credentials: &BTreeMap<&str, &str>, configuration: &BTreeMap<&str, &str>) -> Profile {
    let key = || {
        Some(Credentials {
            id: (*credentials.get("aws_access_key_id")?).to_owned(),
            secret: Zeroizing::new((*credentials.get("aws_secret_access_key")?).to_owned()),
            token: credentials
                .get("aws_session_token")
                .map(|token| Zeroizing::new((*token).to_owned())),
        })
    };
    let region = credentials.get("region").or_else(|| configuration.get("region"));
    Profile { credentials: key(), region: region.map(|region| (*region).to_owned()) }
}

fn section<'a>(text: &'a str, heading: &str) -> BTreeMap<&'a str, &'a str> {
    let mut values = BTreeMap::new();
    let mut is_within = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_within = name.trim() == heading;
        } else if is_within
            && !line.starts_with(['#', ';'])
            && let Some((name, value)) = line.split_once('=')
        {
            values.insert(name.trim(), value.trim());
        }
    }
    values
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "\
[default]
aws_access_key_id = A
aws_secret_access_key = a
[bank]
# of the bank
aws_access_key_id = B
aws_secret_access_key=b/=+
aws_session_token = t==
[half]
aws_access_key_id = C
";

    #[test]
    fn a_profile_is_its_own_section_alone() {
        let configuration = "[default]\nregion = us-east-1\n[profile bank]\nregion=eu-central-1\n";
        let of = |name: &str, heading: &str| {
            profile(&section(CREDENTIALS, name), &section(configuration, heading))
        };
        let bank = of("bank", "profile bank");
        let key = bank.credentials.unwrap();
        assert_eq!((key.id.as_str(), key.secret.as_str()), ("B", "b/=+"));
        assert_eq!(key.token.unwrap().as_str(), "t==");
        assert_eq!(bank.region.as_deref(), Some("eu-central-1"));
        let default = of("default", "default");
        assert!(default.credentials.unwrap().token.is_none());
        assert_eq!(default.region.as_deref(), Some("us-east-1"));
        for name in ["half", "nobody"] {
            assert!(of(name, name).credentials.is_none(), "{name}");
        }
    }
}
