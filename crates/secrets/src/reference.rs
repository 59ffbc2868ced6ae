//! Owns reading a reference: which store, and what in it. Each part goes into an address or a
//! request of ours and is checked before it does.

use std::fmt;

const AWS_SECRET: &str = "aws-sm";
const AWS_KMS: &str = "aws-kms";
const AZURE_SECRET: &str = "azure-kv";
const SCHEMES: [&str; 3] = [AWS_SECRET, AWS_KMS, AZURE_SECRET];

/// Where a secret is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A secret of AWS Secrets Manager.
    AwsSecret {
        /// Its name or ARN.
        name: String,
        /// The member of the JSON object that it is; all of it where absent.
        member: Option<String>,
    },
    /// What AWS KMS decrypts.
    AwsKms {
        /// The ciphertext, in base64; it names its key.
        ciphertext: String,
    },
    /// A secret of Azure Key Vault.
    AzureSecret {
        /// The vault's name.
        vault: String,
        /// The secret's name.
        name: String,
        /// Its version; the newest where absent.
        version: Option<String>,
    },
}

/// A reference that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be: {0}")]
pub struct Malformed(&'static str);

impl Reference {
    /// Whether a text is meant as one.
    pub fn is_one(text: &str) -> bool {
        text.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
    }

    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        match text.split_once("://") {
            Some((AWS_SECRET, rest)) => {
                aws_secret(rest).ok_or(Malformed("aws-sm://name or aws-sm://name#member"))
            }
            Some((AWS_KMS, rest)) => {
                aws_kms(rest).ok_or(Malformed("aws-kms:// and a ciphertext in base64"))
            }
            Some((AZURE_SECRET, rest)) => azure_secret(rest)
                .ok_or(Malformed("azure-kv://vault/name or azure-kv://vault/name/version")),
            _ => Err(Malformed("aws-sm://…, aws-kms://… or azure-kv://…")),
        }
    }

    /// Its scheme, which names the store.
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::AwsSecret { .. } => AWS_SECRET,
            Self::AwsKms { .. } => AWS_KMS,
            Self::AzureSecret { .. } => AZURE_SECRET,
        }
    }
}

/// As it was written; of a ciphertext nothing, it is long and says nothing.
impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://", self.scheme())?;
        let (rest, end) = match self {
            Self::AwsSecret { name, member } => (name.clone(), member.as_ref().map(|m| ('#', m))),
            Self::AwsKms { .. } => ("…".to_owned(), None),
            Self::AzureSecret { vault, name, version } => {
                (format!("{vault}/{name}"), version.as_ref().map(|version| ('/', version)))
            }
        };
        formatter.write_str(&rest)?;
        end.map_or(Ok(()), |(separator, end)| write!(formatter, "{separator}{end}"))
    }
}

fn aws_secret(rest: &str) -> Option<Reference> {
    let (name, member) = match rest.split_once('#') {
        Some((name, member)) => (name, Some(member)),
        None => (rest, None),
    };
    let member_fits = member.is_none_or(|member| {
        (1..=256).contains(&member.len()) && !member.chars().any(char::is_control)
    });
    (is_of(name, 1..=512, b"/_+=.@-:") && member_fits)
        .then(|| Reference::AwsSecret { name: name.to_owned(), member: member.map(str::to_owned) })
}

fn aws_kms(rest: &str) -> Option<Reference> {
    is_of(rest, 4..=8_192, b"+/=").then(|| Reference::AwsKms { ciphertext: rest.to_owned() })
}

fn azure_secret(rest: &str) -> Option<Reference> {
    let mut parts = rest.split('/');
    let (vault, name, version) = (parts.next()?, parts.next()?, parts.next());
    let fits = is_of(vault, 3..=24, b"-")
        && is_of(name, 1..=127, b"-")
        && version.is_none_or(|version| is_of(version, 1..=64, b""))
        && parts.next().is_none();
    fits.then(|| Reference::AzureSecret {
        vault: vault.to_owned(),
        name: name.to_owned(),
        version: version.map(str::to_owned),
    })
}

/// Letters, digits and these, as many.
fn is_of(text: &str, lengths: std::ops::RangeInclusive<usize>, others: &[u8]) -> bool {
    lengths.contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_written_again() {
        for text in [
            "aws-sm://database",
            "aws-sm://prod/bank/database#url",
            "aws-sm://arn:aws:secretsmanager:eu-central-1:123456789012:secret:database-AbCdEf",
            "azure-kv://bank-prod/database-url",
            "azure-kv://bank-prod/database-url/8a2e5fd0a9a34e4f8e9d3c5e1b7f6a20",
        ] {
            let read = Reference::parse(text).map(|reference| reference.to_string());
            assert_eq!(read.as_deref(), Ok(text));
        }
        let ciphertext = Reference::AwsKms { ciphertext: "AQID+/8=".to_owned() };
        assert_eq!(Reference::parse("aws-kms://AQID+/8="), Ok(ciphertext.clone()));
        assert_eq!(ciphertext.to_string(), "aws-kms://…");
    }

    #[test]
    fn what_would_lead_elsewhere_is_none() {
        for text in [
            "aws-sm://",
            "aws-sm://#url",
            "aws-sm://name#",
            "aws-sm://na me",
            "aws-sm://name\"}",
            "aws-kms://",
            "aws-kms://AQID\r\nhost: elsewhere",
            "azure-kv://bank",
            "azure-kv://bank/",
            "azure-kv://evil.example/name",
            "azure-kv://bank/name/version/more",
            "azure-kv://bank/name?api-version=1",
            "azure-kv://bank/..",
            "vault://bank/name",
        ] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
        assert!(!Reference::is_one("postgresql://aws-sm/bank"));
    }
}
