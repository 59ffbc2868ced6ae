//! Owns what can be judged before anything is connected to: the settings, and the
//! files that secrets lie in.
//!
//! It refuses to repeat a value: names, places and modes only.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::report::{Finding, plural};
use crate::config::{Configuration, Origin};

/// The settings.
pub(super) const VALID: &str = "configuration.valid";
/// Who may read the files of secrets.
pub(super) const SECRET_FILES: &str = "configuration.secret_files";
/// How old those are.
pub(super) const SECRET_AGE: &str = "configuration.secret_age";
/// The certificate of our own listener.
pub(super) const CERTIFICATE: &str = "configuration.certificate";

/// Secrets in files should be renewed within this.
const SECRET_AGE_MAX_S: i64 = 365 * 86_400;
/// A certificate should be renewed before so little is left of it.
const CERTIFICATE_LEFT_MIN_S: i64 = 14 * 86_400;
/// Rights of others on a file.
const OTHERS: u32 = 0o007;
/// Rights of a file's group.
const GROUP: u32 = 0o070;

/// Every check of this file.
pub(super) fn check(
    configuration: &Configuration,
    folder: &Path,
    production: bool,
    now: Timestamp,
) -> Vec<Finding> {
    let mut findings = valid(configuration, folder, production);
    let files = secret_files(configuration, folder);
    findings.extend(readable(&files));
    findings.push(aged(&files, now));
    findings.extend(certificate(configuration, now));
    findings
}

/// Nothing where a proxy ends TLS; a pair that cannot be read is among the faults of the
/// settings.
fn certificate(configuration: &Configuration, now: Timestamp) -> Option<Finding> {
    let loaded = configuration.pair()?.load().ok()?;
    let left_s = loaded.expires_at.as_second() - now.as_second();
    let day = loaded.expires_at.strftime("%Y-%m-%d");
    let mend = "strongroom config explain SSL_CERT_PATH";
    Some(if left_s <= 0 {
        Finding::fault(CERTIFICATE, format!("it has expired on {day}"), mend)
    } else if left_s < CERTIFICATE_LEFT_MIN_S {
        Finding::warning(CERTIFICATE, format!("it expires on {day}"), mend)
    } else if matches!(configuration.redirect_address(), Ok(None)) {
        let found = "whoever types the address without https reaches nobody";
        Finding::warning(CERTIFICATE, found, "strongroom config explain HTTP_REDIRECT_ADDRESS")
    } else {
        Finding::ok(CERTIFICATE, format!("it is good until {day}"))
    })
}

fn valid(configuration: &Configuration, folder: &Path, production: bool) -> Vec<Finding> {
    let checked =
        if production { configuration.check_production() } else { configuration.check_serving() };
    let Err(faults) = checked else {
        let set = configuration.shown().iter().filter(|one| one.value.is_some()).count();
        return vec![Finding::ok(VALID, format!("{set} settings have a value, none is wrong"))];
    };
    let nothing_named = configuration.found("DATABASE_URL").is_none();
    faults
        .0
        .iter()
        .filter(|fault| !(nothing_named && fault.setting == "ENCRYPTION_KEY"))
        .map(|fault| {
            if nothing_named && fault.setting == "DATABASE_URL" {
                return nothing_here(folder);
            }
            let setting = fault.setting.split(' ').next().unwrap_or_default();
            let known = crate::config::settings::find(setting).is_some();
            let mend = if known {
                format!("strongroom config explain {setting}")
            } else {
                "strongroom config check".to_owned()
            };
            Finding::fault(VALID, format!("{} {}", fault.setting, fault.message), mend)
        })
        .collect()
}

/// No database is named and none runs here: probably `dev` was stopped, or this
/// is another folder.
fn nothing_here(folder: &Path) -> Finding {
    let shown = folder.display();
    let found = if folder.join("postgres").exists() || folder.join("development.key").exists() {
        format!(
            "DATABASE_URL is not set, and the development installation in {shown} is not running"
        )
    } else {
        format!("DATABASE_URL is not set, and there is no development installation in {shown}")
    };
    Finding::fault(VALID, found, "./scripts/dev   (in another terminal), or set DATABASE_URL")
}

/// A file that a secret was read from.
struct SecretFile {
    what: String,
    path: PathBuf,
}

fn secret_files(configuration: &Configuration, folder: &Path) -> Vec<SecretFile> {
    let mut files = Vec::new();
    for (name, found) in configuration.secrets() {
        let path = match (&found.file, &found.origin) {
            (Some(file), _) => file.clone(),
            (None, Origin::DotEnv(path) | Origin::Toml(path) | Origin::Running(path)) => {
                path.clone()
            }
            (None, Origin::Environment | Origin::Default) => continue,
        };
        let what = if found.file.is_some() { found.key.clone() } else { name.to_owned() };
        if files.iter().all(|known: &SecretFile| known.path != path) {
            files.push(SecretFile { what, path });
        }
    }
    if let Some(pair) = configuration.pair() {
        files.push(SecretFile { what: "SSL_KEY_PATH".to_owned(), path: pair.key });
    }
    let development = folder.join("development.key");
    if configuration.running().is_some() && development.exists() {
        files.push(SecretFile { what: "the development key".to_owned(), path: development });
    }
    files
}

fn readable(files: &[SecretFile]) -> Vec<Finding> {
    let mut findings: Vec<_> = files
        .iter()
        .filter_map(|file| {
            let metadata = std::fs::metadata(&file.path).ok()?;
            judge_mode(file, metadata.permissions().mode() & 0o777)
        })
        .collect();
    if findings.is_empty() {
        let found = match files.len() {
            0 => "no secret lies in a file".to_owned(),
            count => format!(
                "{count} {} of secrets, readable by {} owner alone",
                plural(count, "file"),
                if count == 1 { "its" } else { "their" }
            ),
        };
        findings.push(Finding::ok(SECRET_FILES, found));
    }
    findings
}

fn judge_mode(file: &SecretFile, mode: u32) -> Option<Finding> {
    let (what, path) = (&file.what, file.path.display());
    let mend = format!("chmod 600 {path}");
    if mode & OTHERS != 0 {
        let found = format!("everybody on this machine may use {path} ({what}), mode {mode:o}");
        return Some(Finding::fault(SECRET_FILES, found, mend));
    }
    (mode & GROUP != 0).then(|| {
        let found = format!("the group of {path} ({what}) may use it, mode {mode:o}");
        Finding::warning(SECRET_FILES, found, mend)
    })
}

/// Only files that hold nothing but a secret: `.env` changes for other reasons.
fn aged(files: &[SecretFile], now: Timestamp) -> Finding {
    let old: Vec<_> = files
        .iter()
        .filter(|file| file.what.ends_with("_FILE"))
        .filter_map(|file| {
            let age_s = now.as_second() - std::fs::metadata(&file.path).ok()?.mtime();
            (age_s > SECRET_AGE_MAX_S).then(|| format!("{} ({} days)", file.what, age_s / 86_400))
        })
        .collect();
    if old.is_empty() {
        return Finding::ok(SECRET_AGE, "no file of a secret is older than a year");
    }
    Finding::note(SECRET_AGE, format!("not renewed for more than a year: {}", old.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{SecretFile, judge_mode};
    use crate::cli::doctor::report::Verdict;

    #[test]
    fn only_the_owner_may_read_a_secret() {
        let table = [
            (0o600, None),
            (0o400, None),
            (0o640, Some(Verdict::Warning)),
            (0o604, Some(Verdict::Fault)),
            (0o644, Some(Verdict::Fault)),
            (0o666, Some(Verdict::Fault)),
        ];
        let file =
            SecretFile { what: "ENCRYPTION_KEY_FILE".to_owned(), path: PathBuf::from("/run/key") };
        for (mode, verdict) in table {
            let finding = judge_mode(&file, mode);
            assert_eq!(finding.as_ref().map(|finding| finding.verdict), verdict, "{mode:o}");
            if let Some(finding) = finding {
                assert_eq!(finding.mend.as_deref(), Some("chmod 600 /run/key"));
            }
        }
    }
}
