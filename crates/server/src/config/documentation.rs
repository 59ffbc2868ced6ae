//! Writes `docs/configuration.md` from the table, so that the two cannot differ.

use std::fmt::Write as _;

use super::settings::{GROUPS, Setting};

const INTRODUCTION: &str = "\
# Configuration

Written by `strongroom docs configuration` from the table in `crates/server/src/config/settings.rs`; a test fails where \
the two differ.

A setting is looked for in this order, and the first place that has it wins:

1. the environment;
2. `.env` in the current folder, in development only;
3. the TOML file of `--config FILE`: a flat table of the same names in lower case;
4. in development, where no database is named: the installation that `strongroom dev` runs from `./var` (not for `dev` and \
`serve` themselves);
5. the default below.

Every secret may come from a file instead: `NAME_FILE` holds its path. A setting's names (aliases, `NAME_FILE`) set to \
different values are an error, and so is an unknown name in `.env` or TOML. An empty variable counts as not set. \
`strongroom config check` shows every value with its source, secrets redacted, and lists all faults at once; it and \
`serve` exit with 3 where there are any.
";

const SAFETY: &str = "
## What staging and production refuse

Keys that are missing, shorter than 256 bits, follow a pattern, hold a word of an example or serve two purposes; a \
`PUBLIC_URL` or CORS origin that is not https; neither a certificate of our own (`SSL_CERT_PATH`) nor \
`TRUSTED_PROXIES` (a proxy must end TLS then); a certificate that has expired and, in production alone, one that is \
signed by itself; a mail server without TLS or an SMS gateway without https; a database reached otherwise than \
through a Unix socket or with `sslmode=verify-full`; a Redis in the clear or without a password; `DEBUG`; default passwords; a database login that is \
a superuser, bypasses row security or owns the tables. All faults are listed together.

## Not yet

Named in the specification, and arriving with the feature that reads them, so that no setting is without effect: \
`DATABASE_DIRECT_URL`, `DATABASE_REPLICA_URL`, `KAFKA_*`, `SENTRY_DSN`, \
object stores and SIEM.
";

const SECRETS: &str = "
## What may stand in the place of a secret

Wherever a secret may stand (environment, `.env`, TOML, the file of `NAME_FILE`), one of these may stand for it. They are \
followed once, before anything is checked; a fault names the setting and the way, never what was found, and \
`config check` says which way a value came.

| Text | What it is | Needs |
|---|---|---|
| `sealed:v1:…` | What `strongroom config seal NAME` printed: the value from its standard input, sealed under a key that \
is derived from `ENCRYPTION_KEY`, for this setting alone | `ENCRYPTION_KEY` |
| `aws-sm://name`, `aws-sm://name#member` | A secret of AWS Secrets Manager by name or ARN, or a text in the JSON object \
that it is | a build with `--features aws` |
| `aws-kms://BASE64` | What AWS KMS decrypts the ciphertext to. For a root it may be 32 bytes as they are | a build with \
`--features aws` |
| `azure-kv://vault/name`, `azure-kv://vault/name/version` | A secret of Azure Key Vault | a build with \
`--features azure` |

The two roots, `ENCRYPTION_KEY` and `FIELD_ENCRYPTION_KEY`, may be references and cannot be sealed. Sealed texts do not \
open under another root: seal them anew before a root is changed.

Who asks is told by the process environment alone (not by `.env` or TOML):

- AWS: `AWS_ACCESS_KEY_ID` with `AWS_SECRET_ACCESS_KEY` and, for a session, `AWS_SESSION_TOKEN`; else the profile that \
`AWS_PROFILE` names in `AWS_SHARED_CREDENTIALS_FILE` (`~/.aws/credentials`); else the machine's role by IMDSv2 \
(`AWS_EC2_METADATA_SERVICE_ENDPOINT`, `AWS_EC2_METADATA_DISABLED`). The region is `AWS_REGION`, `AWS_DEFAULT_REGION`, \
the profile's or the machine's. `AWS_ENDPOINT_URL` asks elsewhere.
- Azure: `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_CLIENT_SECRET` of an application; else the machine's managed \
identity, of several the one that `AZURE_CLIENT_ID` names. `AZURE_AUTHORITY_HOST`, `AZURE_POD_IDENTITY_AUTHORITY_HOST` \
and `AZURE_KEYVAULT_ENDPOINT` ask elsewhere.

Stores are asked over TLS that the system's roots vouch for; over http only on this machine and its metadata. Redirects \
are not followed, answers are read up to 16 KiB, and each value is waited for half a minute at most. What a store gives is \
read at the start of a command and not again.
";

/// The whole document.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for group in GROUPS {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n## {}\n", group.title);
        group.settings.iter().for_each(|setting| describe(&mut text, setting));
    }
    text.push_str(SECRETS);
    text.push_str(SAFETY);
    text
}

fn describe(text: &mut String, setting: &Setting) {
    let _ = write!(text, "\n### `{}`\n\n{}\n\n", setting.name, setting.documentation);
    let default = setting.default.map_or_else(|| "none".to_owned(), |value| format!("`{value}`"));
    let _ = writeln!(text, "- Value: {}. Default: {default}.", setting.kind.describe());
    if !setting.aliases.is_empty() {
        let _ = writeln!(text, "- Also: `{}`.", setting.aliases.join("`, `"));
    }
    if setting.secret {
        let _ = writeln!(
            text,
            "- Secret; also as `{}_FILE`, [sealed or a reference](#what-may-stand-in-the-place-of-a-secret).",
            setting.name
        );
    }
}
