//! Owns the comparison of a tenant's security policy with three standards: NIST SP
//! 800-63B-4, PCI DSS 4.0.1 and OWASP ASVS 5.0. The standards contradict each other
//! (PCI wants what NIST forbids), and blueprints follow their seeds: deviations are
//! notes for the person who answers for them, never faults.

use tenancy::TenantRef;
use tenancy::policy::SecurityPolicy;

use super::report::Finding;
use super::tenants::STANDARDS;

/// The deviations of one tenant.
pub(super) fn check(tenant: &TenantRef, policy: &SecurityPolicy) -> Finding {
    let deviations = deviations(policy);
    if deviations.is_empty() {
        return Finding::ok(STANDARDS, format!("{}: no deviation", tenant.slug));
    }
    let found = format!("{} ({}):\n{}", tenant.slug, tenant.blueprint, deviations.join("\n"));
    Finding::note(STANDARDS, found)
}

fn deviations(policy: &SecurityPolicy) -> Vec<String> {
    let mut found = passwords(policy);
    found.extend(locks_and_sessions(policy));
    found
}

fn passwords(policy: &SecurityPolicy) -> Vec<String> {
    let password = &policy.password;
    let mut found = Vec::new();
    if password.minimum_length < 12 {
        found.push(format!(
            "PCI DSS 8.3.6: passwords of at least 12 characters (here {})",
            password.minimum_length
        ));
    }
    if password.minimum_length < 15 {
        found.push(format!(
            "NIST 800-63B-4 3.1.1.2: at least 15 characters where the password is the only factor (here {})",
            password.minimum_length
        ));
    }
    if password.all_four_classes {
        found.push("NIST 800-63B-4 3.1.1.2, ASVS 6.2.5: no demands on the classes of characters (here all four)".to_owned());
    } else {
        found.push("PCI DSS 8.3.6: letters and digits in every password (here length and a block list instead)".to_owned());
    }
    match password.maximum_age_days {
        Some(days) => found.push(format!("NIST 800-63B-4 3.1.1.2, ASVS 6.2.10: no change by the calendar (here every {days} days)")),
        None => found.push("PCI DSS 8.3.9: a change every 90 days where the password is the only factor (here never)".to_owned()),
    }
    if password.history < 4 {
        found.push(format!(
            "PCI DSS 8.3.7: the last four passwords refused (here {})",
            password.history
        ));
    }
    if !password.refuse_common {
        found.push(
            "NIST 800-63B-4 3.1.1.2, ASVS 6.2.4: common passwords refused (here not)".to_owned(),
        );
    }
    found
}

fn locks_and_sessions(policy: &SecurityPolicy) -> Vec<String> {
    let (lock, session) = (&policy.account_lock, &policy.session);
    let mut found = Vec::new();
    if lock.threshold > 10 {
        found.push(format!(
            "PCI DSS 8.3.4: locked after at most ten failures (here {})",
            lock.threshold
        ));
    }
    if lock.duration_s < 1_800 {
        found.push(format!(
            "PCI DSS 8.3.4: locked for at least 30 minutes (here {} at first)",
            span(lock.duration_s)
        ));
    }
    if session.idle_timeout_s > 900 {
        found.push(format!(
            "PCI DSS 8.2.8: idle sessions end after 15 minutes (here {})",
            span(session.idle_timeout_s)
        ));
    }
    if session.idle_timeout_s > 3_600 {
        found.push(format!(
            "NIST 800-63B-4 2.2.3: at AAL2 idle sessions end after an hour (here {})",
            span(session.idle_timeout_s)
        ));
    }
    if session.absolute_timeout_s > 86_400 {
        found.push(format!(
            "NIST 800-63B-4 2.2.3: at AAL2 sessions end after 24 hours (here {})",
            span(session.absolute_timeout_s)
        ));
    }
    found
}

fn span(seconds: i64) -> String {
    match seconds {
        172_800.. => format!("{} days", seconds / 86_400),
        7_200.. => format!("{} hours", seconds / 3_600),
        60.. => format!("{} minutes", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use tenancy::Blueprint;
    use tenancy::policy::SecurityPolicy;

    use super::{deviations, span};

    #[test]
    fn blueprints_deviate_where_their_seeds_do() {
        let table = [
            (
                Blueprint::CoreBank,
                vec!["15 characters", "all four", "every 90 days", "15 minutes"],
                vec!["PCI DSS 8.3.9"],
            ),
            (
                Blueprint::Standard,
                vec!["block list instead", "here never"],
                vec!["characters where", "all four", "30 minutes (here"],
            ),
            (Blueprint::EquipmentErp, vec!["an hour (here 24 hours)"], vec!["24 hours (here"]),
            (
                Blueprint::DigitalBank,
                vec!["30 minutes (here 1 minutes at first)", "24 hours (here 7 days)"],
                vec![],
            ),
        ];
        for (blueprint, present, absent) in table {
            let words = deviations(&SecurityPolicy::of(blueprint)).join("\n");
            for part in present {
                assert!(words.contains(part), "{blueprint}: {part} in\n{words}");
            }
            for part in absent {
                assert!(!words.contains(part), "{blueprint}: {part} in\n{words}");
            }
        }
        assert_eq!(
            [span(30), span(90), span(7_200), span(172_800)],
            ["30 s", "1 minutes", "2 hours", "2 days"]
        );
    }

    #[test]
    fn loosened_policies_are_named() {
        let mut policy = SecurityPolicy::of(Blueprint::CoreBank);
        policy.password.minimum_length = 8;
        policy.password.history = 0;
        policy.password.refuse_common = false;
        policy.account_lock.threshold = 50;
        let words = deviations(&policy).join("\n");
        for part in [
            "at least 12 characters (here 8)",
            "8.3.7",
            "common passwords",
            "ten failures (here 50)",
        ] {
            assert!(words.contains(part), "{part} in\n{words}");
        }
    }
}
