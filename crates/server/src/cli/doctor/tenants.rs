//! Owns the judgement of each tenant: do its keys open and sign in time, is its
//! audit log sealed and signed, do its books balance, what does its policy say.
//!
//! It reads through the same doors as the service, tenant by tenant, as
//! `strongroom_app`. It refuses to walk whole books and logs: that is `ledger
//! verify` and `audit verify`.

use std::sync::Arc;
use std::time::Duration;

use audit::note::Checkpoint;
use audit::proof;
use jiff::Timestamp;
use tenancy::directory::Directory;
use tenancy::keyring::{Keyring, KeyringError};
use tenancy::policy::SecurityPolicy;
use tenancy::{ActorKind, Database, DbError, OpContext, Query, TenantRef};
use tokio_postgres::Row;
use uuid::Uuid;

use super::Patient;
use super::report::{Finding, Verdict, plural};
use super::standards;

const TENANT: &str = tenancy::sql!("server/doctor.sql", "tenant");
const SIGNING_KEYS: &str = tenancy::sql!("server/doctor.sql", "tenant_signing_keys");
const TOTALS: &str = tenancy::sql!("ledger/verify.sql", "totals");

pub(super) const ENCRYPTION: &str = "keys.encryption";
pub(super) const SIGNING: &str = "keys.signing";
pub(super) const SEALER: &str = "audit.sealer";
pub(super) const CHECKPOINTS: &str = "audit.checkpoints";
pub(super) const TRIAL_BALANCE: &str = "ledger.trial_balance";
pub(super) const PROOF: &str = "ledger.proof";
pub(super) const ANSWERS: &str = "operation.idempotency";
pub(super) const STANDARDS: &str = "policy.standards";

/// Every check of this file, in the order of the report.
pub(super) const ALL: [&str; 8] =
    [ENCRYPTION, SIGNING, SEALER, CHECKPOINTS, TRIAL_BALANCE, PROOF, ANSWERS, STANDARDS];

/// A record is sealed within a second; older ones say that nobody seals.
const UNSEALED_WARNING_S: i64 = 10;
const UNSEALED_FAULT_S: i64 = 60;
/// A pass of the sealer takes a tenth of this.
const SECOND_LOOK_AFTER: Duration = Duration::from_secs(2);
/// Proofs run every hour by default, every week at the least.
const PROOF_AGE_MAX_H: i64 = 24 * 7;

/// Every check of this file.
pub(super) async fn check(patient: &Patient<'_>, app: &Database) -> Result<Vec<Finding>, DbError> {
    let tenants = Directory::new(app.clone()).list().await?;
    let keyring = patient
        .configuration
        .root_keys()
        .ok()
        .map(|roots| Keyring::new(roots).sharing(patient.configuration.key_shares()));
    let mut findings = Vec::new();
    for tenant in &tenants {
        let context = OpContext::system(Arc::clone(tenant), ActorKind::Cli, patient.clock.clone());
        findings.extend(one(patient, app, &context, keyring.as_ref()).await?);
    }
    if !patient.strict {
        findings = without_particulars(findings);
    }
    Ok(summed_up(&findings, tenants.len(), keyring.is_some()))
}

/// Deviations from standards are for whoever answers for production; to a newcomer
/// they are one line.
fn without_particulars(findings: Vec<Finding>) -> Vec<Finding> {
    let is_deviation =
        |finding: &Finding| finding.check == STANDARDS && finding.verdict == Verdict::Note;
    let (deviations, mut kept): (Vec<_>, Vec<_>) = findings.into_iter().partition(is_deviation);
    if !deviations.is_empty() {
        let found = format!(
            "{} {} from NIST 800-63B-4, PCI DSS or OWASP ASVS, as {} chosen; `strongroom doctor --production` names each \
             deviation",
            deviations.len(),
            if deviations.len() == 1 { "tenant deviates" } else { "tenants deviate" },
            if deviations.len() == 1 { "its blueprint has" } else { "their blueprints have" },
        );
        kept.push(Finding::note(STANDARDS, found));
    }
    kept
}

/// Everything wrong as it is; what is in order once for all tenants.
fn summed_up(findings: &[Finding], tenants: usize, has_key: bool) -> Vec<Finding> {
    let of_all = format!("{tenants} {}", plural(tenants, "tenant"));
    let mut summary = Vec::new();
    for check in ALL {
        let of_check = || findings.iter().filter(|finding| finding.check == check);
        let before = summary.len();
        summary.extend(of_check().filter(|finding| finding.verdict != Verdict::Ok).cloned());
        if summary.len() > before {
            continue;
        }
        if check == ENCRYPTION && !has_key {
            summary.push(Finding::skipped(check, "ENCRYPTION_KEY is not set or no key"));
            continue;
        }
        let found = match check {
            ENCRYPTION => format!("ENCRYPTION_KEY opens every key of {of_all}"),
            SIGNING => format!("{of_all}, each with one active key that is not overdue"),
            SEALER => format!("{of_all}, no record waits longer than {UNSEALED_WARNING_S} s"),
            CHECKPOINTS => format!("{of_all}, the last checkpoint of each is signed and complete"),
            TRIAL_BALANCE => format!("{of_all}, the balances of every currency sum to zero"),
            PROOF => format!("{of_all}, the last proof of no books found a fault"),
            ANSWERS => format!("{of_all}, none keeps answers for longer than a week"),
            _ => format!("{of_all}, none deviates"),
        };
        summary.push(Finding::ok(check, found));
    }
    summary
}

async fn one(
    patient: &Patient<'_>,
    app: &Database,
    context: &OpContext,
    keyring: Option<&Keyring>,
) -> Result<Vec<Finding>, DbError> {
    let (tenant, id) = (&context.tenant, context.tenant_id());
    let answers = app
        .read(
            context,
            &[
                Query::new(TENANT, &[&id]),
                Query::new(SIGNING_KEYS, &[&id]),
                Query::new(TOTALS, &[&id]),
            ],
        )
        .await?;
    let [state, keys, totals] = answers.as_slice() else {
        return Err(DbError::Corrupt("three statements gave other than three results".to_owned()));
    };
    let state = state.first().ok_or_else(|| DbError::Corrupt("no state of a tenant".to_owned()))?;
    let policy = policy(state);
    let now = patient.clock.now();
    let mut findings = Vec::new();
    if let Some(keyring) = keyring {
        findings.extend(opens(tenant, keyring.tenant(app, context).await)?);
        if patient.configuration.key_shares().is_some() {
            findings.extend(shared(tenant, keyring.keks_without_share(app, context).await)?);
        }
    }
    let has_secret = patient.configuration.token_secret().is_some();
    let rotation_days = policy.as_ref().map_or(30, |policy| policy.token.key_rotation_days);
    findings.extend(signing(tenant, &signing_keys(keys)?, (now, rotation_days), has_secret));
    findings.push(sealing(app, context, state, now).await?);
    findings.push(checkpoint(app, context, state.try_get("leaves")?).await?);
    findings.extend(balanced(tenant, totals)?);
    findings.push(proven(
        tenant,
        state.try_get("proof_finished_at")?,
        state.try_get("proof_fault_count")?,
        now,
    ));
    findings.push(answers_kept(tenant, state.try_get("overdue_answers")?));
    findings.push(match policy {
        Some(policy) => standards::check(tenant, &policy),
        None => Finding::fault(
            STANDARDS,
            format!(
                "{}: its security policy is missing or not of this version's shape",
                tenant.slug
            ),
            "strongroom migrate status   (nobody can sign in to this tenant)",
        ),
    });
    Ok(findings)
}

fn policy(state: &Row) -> Option<SecurityPolicy> {
    let document: Option<serde_json::Value> = state.try_get("policy").ok()?;
    serde_json::from_value(document?).ok()
}

fn opens(
    tenant: &TenantRef,
    opened: Result<Arc<tenancy::keyring::TenantKeys>, KeyringError>,
) -> Result<Option<Finding>, DbError> {
    let slug = &tenant.slug;
    match opened {
        Ok(_) => Ok(None),
        Err(KeyringError::Database(error)) => Err(error),
        Err(KeyringError::Key(_)) => Ok(Some(Finding::fault(
            ENCRYPTION,
            format!(
                "ENCRYPTION_KEY does not open the keys of {slug}: it is another one than they were made with"
            ),
            "strongroom config explain ENCRYPTION_KEY   (set the one that was kept when the installation was made)",
        ))),
        Err(error @ (KeyringError::NoShare(_) | KeyringError::Shares(_))) => {
            let mend = "strongroom config explain KEY_SHARES   (after a restore: strongroom keys import FILE)";
            Ok(Some(Finding::fault(ENCRYPTION, format!("{slug}: {error}"), mend)))
        }
        Err(error) => Ok(Some(Finding::fault(
            ENCRYPTION,
            format!("{slug}: {error}"),
            "restore the tables tenant_keks and data_keys from a backup",
        ))),
    }
}

/// Whether an erasure outlives the backups that there are.
fn shared(
    tenant: &TenantRef,
    without: Result<Vec<u32>, KeyringError>,
) -> Result<Option<Finding>, DbError> {
    let without = without.map_err(DbError::from)?;
    let Some(oldest) = without.first() else { return Ok(None) };
    let slug = &tenant.slug;
    Ok(Some(Finding::warning(
        ENCRYPTION,
        format!(
            "{slug}: the root alone opens generation {oldest} of its field KEK: what is erased stays in backups"
        ),
        format!(
            "strongroom keys rotate --tenant {slug} --kek field   (then rewrap, and revoke --epoch {oldest})"
        ),
    )))
}

/// A signing key that is not retired.
struct SigningKey {
    algorithm: String,
    derived: bool,
    is_active: bool,
    since: Timestamp,
}

fn signing_keys(rows: &[Row]) -> Result<Vec<SigningKey>, DbError> {
    rows.iter()
        .map(|row| {
            Ok(SigningKey {
                algorithm: row.try_get("algorithm")?,
                derived: row.try_get("derived")?,
                is_active: row.try_get::<_, String>("status")? == "active",
                since: row.try_get("since")?,
            })
        })
        .collect()
}

fn signing(
    tenant: &TenantRef,
    keys: &[SigningKey],
    (now, rotation_days): (Timestamp, u32),
    has_secret: bool,
) -> Option<Finding> {
    let slug = &tenant.slug;
    let Some(active) = keys.iter().find(|key| key.is_active) else {
        return Some(Finding::fault(
            SIGNING,
            format!("{slug} has no active signing key: nobody can sign in"),
            "restore the table signing_keys from a backup",
        ));
    };
    if active.derived && !has_secret {
        return Some(Finding::fault(
            SIGNING,
            format!(
                "the {} key of {slug} is derived from JWT_SECRET_KEY, which is not set",
                active.algorithm
            ),
            "strongroom config explain JWT_SECRET_KEY",
        ));
    }
    let age_days = (now.as_second() - active.since.as_second()) / 86_400;
    (age_days > i64::from(rotation_days)).then(|| {
        Finding::warning(
            SIGNING,
            format!(
                "the {} key of {slug} signs for {age_days} days; its policy says {rotation_days}",
                active.algorithm
            ),
            format!("strongroom keys rotate --tenant {slug}"),
        )
    })
}

/// How long the oldest unsealed record waits, in seconds; none where none waits.
fn oldest(state: &Row, now: Timestamp) -> Result<Option<i64>, DbError> {
    let oldest: Option<Uuid> = state.try_get("oldest_waiting")?;
    let at = oldest.and_then(|id| id.get_timestamp()).map(|stamp| stamp.to_unix().0);
    Ok(at.and_then(|at_s| i64::try_from(at_s).ok()).map(|at_s| (now.as_second() - at_s).max(0)))
}

/// Old records wait where nobody seals, and for a moment after history was loaded
/// under its own dates: a second look tells the two apart.
async fn sealing(
    app: &Database,
    context: &OpContext,
    state: &Row,
    now: Timestamp,
) -> Result<Finding, DbError> {
    let (tenant, id) = (&context.tenant, context.tenant_id());
    let first = sealed(tenant, state.try_get("waiting")?, oldest(state, now)?);
    if first.verdict == Verdict::Ok {
        return Ok(first);
    }
    tokio::time::sleep(SECOND_LOOK_AFTER).await;
    let again = app.read(context, &[Query::new(TENANT, &[&id])]).await?;
    let Some(later) = again.first().and_then(|rows| rows.first()) else { return Ok(first) };
    let head = |row: &Row| row.try_get::<_, Option<Uuid>>("oldest_waiting");
    Ok(match head(later)? {
        None => Finding::ok(SEALER, format!("{}: everything is sealed", tenant.slug)),
        moved if moved == head(state)? => first,
        _ => Finding::note(SEALER, format!("{}, and sealing moves on", first.found)),
    })
}

fn sealed(tenant: &TenantRef, waiting: i64, oldest_s: Option<i64>) -> Finding {
    let slug = &tenant.slug;
    let found = format!(
        "{slug}: {waiting} records wait to be sealed, the oldest for {} s",
        oldest_s.unwrap_or(0)
    );
    let mend = "strongroom serve   (it seals; where one runs, its log says why it does not)";
    match oldest_s.unwrap_or(0) {
        UNSEALED_FAULT_S.. => Finding::fault(SEALER, found, mend),
        UNSEALED_WARNING_S.. => Finding::warning(SEALER, found, mend),
        _ => Finding::ok(SEALER, found),
    }
}

/// Leaves and their checkpoint are one commit, but records are sealed while we look: the
/// last checkpoint covers at least what was there before it was read (`before`), and no
/// more than what is there afterwards.
async fn checkpoint(app: &Database, context: &OpContext, before: i64) -> Result<Finding, DbError> {
    let (slug, id) = (&context.tenant.slug, context.tenant_id());
    let mend = format!("strongroom audit verify --tenant {slug}");
    let before = before.unsigned_abs();
    let Some(last) = proof::latest_checkpoint(app, context).await? else {
        return Ok(match before {
            0 => Finding::ok(CHECKPOINTS, format!("{slug}: nothing sealed yet")),
            _ => Finding::fault(
                CHECKPOINTS,
                format!("{slug}: {before} records and no checkpoint"),
                mend,
            ),
        });
    };
    let again = app.read(context, &[Query::new(TENANT, &[&id])]).await?;
    let after: i64 = match again.first().and_then(|rows| rows.first()) {
        Some(row) => row.try_get("leaves")?,
        None => 0,
    };
    let keys = proof::verifier_keys(app, context).await?;
    let opened: Vec<_> =
        keys.iter().filter_map(|key| Checkpoint::open(&last.note, key).ok()).collect();
    let found = match opened.first() {
        None => format!("{slug}: the last checkpoint bears no valid signature of the log's keys"),
        Some(signed) if signed.size != last.tree_size || signed.root != last.root_hash => {
            format!("{slug}: the last checkpoint was changed after it was signed")
        }
        Some(signed) => {
            let size = signed.size;
            let Some(leaves) = differing(size, before, after.unsigned_abs()) else {
                return Ok(Finding::ok(CHECKPOINTS, format!("{slug}: {size} records signed")));
            };
            format!("{slug}: the last checkpoint is about {size} records, the log has {leaves}")
        }
    };
    Ok(Finding::fault(CHECKPOINTS, found, mend))
}

/// How many records the log has, where a checkpoint read between two looks at it cannot
/// have been about them all and no others.
fn differing(signed: u64, before: u64, after: u64) -> Option<u64> {
    if signed < before { Some(before) } else { (signed > after).then_some(after) }
}

fn balanced(tenant: &TenantRef, totals: &[Row]) -> Result<Vec<Finding>, DbError> {
    let mut findings = Vec::new();
    for row in totals {
        let (currency, sum): (String, String) = (row.try_get("currency")?, row.try_get("balance")?);
        if sum != "0" {
            let slug = &tenant.slug;
            let found =
                format!("{slug}: the balances in {currency} sum to {sum} minor units instead of 0");
            let mend = format!("strongroom ledger verify --tenant {slug}");
            findings.push(Finding::fault(TRIAL_BALANCE, found, mend));
        }
    }
    Ok(findings)
}

/// What the worker that walks the books in the background found last.
fn proven(
    tenant: &TenantRef,
    finished_at: Option<Timestamp>,
    fault_count: i64,
    now: Timestamp,
) -> Finding {
    let slug = &tenant.slug;
    if fault_count > 0 {
        let found = format!("{slug}: the last proof of the books found {fault_count} faults");
        let mend = format!("strongroom ledger verify --tenant {slug}");
        return Finding::fault(PROOF, found, mend);
    }
    match finished_at.map(|at| (now.as_second() - at.as_second()) / 3_600) {
        Some(age_h) if age_h >= PROOF_AGE_MAX_H => {
            Finding::note(PROOF, format!("{slug}: the books were last proven {age_h} hours ago"))
        }
        _ => Finding::ok(PROOF, format!("{slug}: nothing found wrong")),
    }
}

fn answers_kept(tenant: &TenantRef, overdue: i64) -> Finding {
    let slug = &tenant.slug;
    if overdue == 0 {
        return Finding::ok(ANSWERS, format!("{slug}: nothing overdue"));
    }
    Finding::warning(
        ANSWERS,
        format!(
            "{slug} keeps {overdue} answers to idempotency keys for more than eight days; seven are due"
        ),
        "strongroom serve   (its worker forgets them every hour)",
    )
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tenancy::{Blueprint, TenantId, TenantRef};
    use uuid::Uuid;

    use super::{SigningKey, answers_kept, differing, proven, sealed, signing, summed_up};
    use crate::cli::doctor::report::Verdict;

    fn tenant() -> TenantRef {
        TenantRef {
            id: TenantId(Uuid::nil()),
            slug: "bank".to_owned(),
            blueprint: Blueprint::CoreBank,
            modules: Vec::new(),
            time_zone: "UTC".to_owned(),
        }
    }

    #[test]
    fn signing_keys_are_judged_by_age_and_secret() {
        let now = Timestamp::from_second(100 * 86_400).unwrap_or_default();
        let key = |age_days: i64, derived, is_active| SigningKey {
            algorithm: "HS256".to_owned(),
            derived,
            is_active,
            since: Timestamp::from_second((100 - age_days) * 86_400).unwrap_or_default(),
        };
        let table = [
            (vec![key(1, false, true)], true, None),
            (vec![key(30, false, true)], true, None),
            (vec![key(31, false, true)], true, Some(Verdict::Warning)),
            (vec![key(31, false, false), key(1, false, true)], true, None),
            (vec![key(1, false, false)], true, Some(Verdict::Fault)),
            (vec![key(1, true, true)], false, Some(Verdict::Fault)),
            (vec![key(1, true, true)], true, None),
            (vec![], true, Some(Verdict::Fault)),
        ];
        for (number, (keys, has_secret, verdict)) in table.into_iter().enumerate() {
            let finding = signing(&tenant(), &keys, (now, 30), has_secret);
            assert_eq!(finding.as_ref().map(|one| one.verdict), verdict, "{number}: {finding:?}");
        }
    }

    #[test]
    fn a_stuck_sealer_is_told_by_the_age_of_what_waits() {
        let table = [
            (None, Verdict::Ok),
            (Some(9), Verdict::Ok),
            (Some(10), Verdict::Warning),
            (Some(60), Verdict::Fault),
        ];
        for (age_s, verdict) in table {
            assert_eq!(sealed(&tenant(), 3, age_s).verdict, verdict, "{age_s:?}");
        }
        assert_eq!(answers_kept(&tenant(), 1).verdict, Verdict::Warning);
    }

    #[test]
    fn a_log_that_grows_fits_its_checkpoint_and_one_that_was_cut_does_not() {
        let table = [
            // Signed, before, after, and what differs.
            (0, 0, 0, None),
            (5, 5, 5, None),
            (5, 5, 9, None),
            (7, 5, 9, None),
            (9, 5, 9, None),
            (4, 5, 5, Some(5)),
            (4, 5, 9, Some(5)),
            (10, 5, 9, Some(9)),
            (10, 0, 0, Some(0)),
        ];
        for (signed, before, after, differs) in table {
            assert_eq!(differing(signed, before, after), differs, "{signed} {before} {after}");
        }
    }

    #[test]
    fn the_last_proof_speaks_for_the_books() {
        let hours = |count: i64| Timestamp::from_second(count * 3_600).unwrap_or_default();
        let table = [
            (None, 0, Verdict::Ok),
            (Some(hours(1_000)), 0, Verdict::Ok),
            (Some(hours(1_000)), 2, Verdict::Fault),
            (Some(hours(1)), 0, Verdict::Note),
        ];
        for (finished_at, faults, verdict) in table {
            let finding = proven(&tenant(), finished_at, faults, hours(1_001));
            assert_eq!(finding.verdict, verdict, "{finding:?}");
        }
    }

    #[test]
    fn what_is_in_order_is_said_once() {
        let findings = [
            sealed(&tenant(), 0, None),
            sealed(&tenant(), 9, Some(100)),
            sealed(&tenant(), 0, None),
        ];
        let summary = summed_up(&findings, 3, true);
        let seals: Vec<_> = summary.iter().filter(|one| one.check == super::SEALER).collect();
        assert_eq!((summary.len(), seals.len(), seals[0].verdict), (8, 1, Verdict::Fault));
        let keyless = summed_up(&[], 3, false);
        assert_eq!(keyless[0].verdict, Verdict::Skipped);
    }
}
