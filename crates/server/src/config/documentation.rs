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

Named in the specification, and arriving with the feature that reads them, so that no setting is without effect: secret \
managers (`aws-sm://`, `azure-kv://`), \
sealed URLs, `DATABASE_DIRECT_URL`, `DATABASE_REPLICA_URL`, `KAFKA_*`, `SENTRY_DSN`, \
object stores and SIEM.
";

/// The whole document.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for group in GROUPS {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n## {}\n", group.title);
        group.settings.iter().for_each(|setting| describe(&mut text, setting));
    }
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
        let _ = writeln!(text, "- Secret; also as `{}_FILE`.", setting.name);
    }
}
