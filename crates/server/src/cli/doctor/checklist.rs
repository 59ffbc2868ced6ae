//! Owns the answers to the production checklist of seed 003, line by line: each
//! with the evidence for it, or with what this version cannot show.
//!
//! It refuses to find anything out: it reads what the examination found.

use serde::Serialize;

use super::report::{Finding, Verdict};
use super::service::Answer;
use super::{Patient, environment, tenants};
use crate::config::Fault;

/// One line of the checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_field_names, reason = "the name in the report is `line`")]
pub(super) struct Line {
    /// As the checklist has it.
    pub line: &'static str,
    /// How far it is fulfilled.
    pub verdict: Verdict,
    /// What speaks for it or against it.
    pub evidence: String,
    /// What fulfils it.
    pub mend: Option<String>,
}

impl Line {
    fn of(line: &'static str, finding: Finding) -> Self {
        let Finding { verdict, found, mend, .. } = finding;
        Self { line, verdict, evidence: found, mend }
    }
}

/// Headers that every answer must have.
const HEADERS: [&str; 5] = [
    "strict-transport-security",
    "content-security-policy",
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
];

/// The whole checklist.
pub(super) fn answer(
    patient: &Patient<'_>,
    findings: &[Finding],
    server: Option<&Answer>,
    has_figures: bool,
) -> Vec<Line> {
    let faults =
        patient.configuration.check_production().err().map(|faults| faults.0).unwrap_or_default();
    vec![
        Line::of("Use strong JWT secret (256+ bits entropy)", secret(patient, &faults, findings)),
        Line::of("Enable HTTPS with valid certificates", https(patient, &faults, findings)),
        Line::of("Configure proper CORS policies", cors(patient, &faults)),
        Line::of("Set up database encryption at rest", at_rest(findings)),
        Line::of("Implement request rate limiting", rates(patient, findings)),
        Line::of("Add security headers middleware", headers(server)),
        Line::of("Enable audit logging", audited(findings)),
        Line::of("Set up monitoring and alerting", monitored(patient, has_figures)),
    ]
}

/// The findings of the checklist have no name of their own.
const LINE: &str = "production";

fn faults_of(faults: &[Fault], setting: &str) -> Option<Finding> {
    let found: Vec<_> = faults
        .iter()
        .filter(|fault| fault.setting.split(' ').next() == Some(setting))
        .map(|fault| format!("{setting} {}", fault.message))
        .collect();
    (!found.is_empty()).then(|| {
        Finding::fault(LINE, found.join("\n"), format!("strongroom config explain {setting}"))
    })
}

fn worst(findings: &[Finding], check: &str) -> Option<Finding> {
    findings
        .iter()
        .filter(|finding| finding.check == check)
        .max_by_key(|finding| finding.verdict)
        .cloned()
}

fn secret(patient: &Patient<'_>, faults: &[Fault], findings: &[Finding]) -> Finding {
    if let Some(fault) =
        faults_of(faults, "JWT_SECRET_KEY").or_else(|| faults_of(faults, "ENCRYPTION_KEY"))
    {
        return fault;
    }
    match worst(findings, tenants::SIGNING) {
        Some(finding) if finding.verdict == Verdict::Ok => Finding::ok(
            LINE,
            if patient.configuration.token_secret().is_some() {
                "JWT_SECRET_KEY has at least 256 bits and no pattern; every tenant's HS256 key is derived from it by HKDF"
            } else {
                "JWT_SECRET_KEY is not set and not needed: every tenant signs with a random key of its own, wrapped by its KEK"
            },
        ),
        Some(finding) => finding,
        None => Finding::skipped(LINE, "the signing keys could not be looked at"),
    }
}

fn https(patient: &Patient<'_>, faults: &[Fault], findings: &[Finding]) -> Finding {
    const SETTINGS: [&str; 4] = ["PUBLIC_URL", "TRUSTED_PROXIES", "SSL_CERT_PATH", "SSL_KEY_PATH"];
    if let Some(fault) = SETTINGS.iter().find_map(|setting| faults_of(faults, setting)) {
        return fault;
    }
    if let Some(finding) = worst(findings, environment::CERTIFICATE) {
        return finding;
    }
    let url = patient.configuration.public_url();
    Finding::warning(
        LINE,
        format!(
            "{url} is https and its proxy is named; its certificate is the proxy's and was not looked at"
        ),
        format!("curl -fsS {url}/livez   (fails where the certificate is not valid)"),
    )
}

fn cors(patient: &Patient<'_>, faults: &[Fault]) -> Finding {
    faults_of(faults, "CORS_ORIGINS").unwrap_or_else(|| {
        let origins = patient.configuration.cors_origins();
        if origins.is_empty() {
            return Finding::ok(
                LINE,
                "CORS_ORIGINS is not set: no page of another origin may call the API",
            );
        }
        Finding::ok(LINE, format!("exactly these origins, no wildcard: {}", origins.join(", ")))
    })
}

fn at_rest(findings: &[Finding]) -> Finding {
    if let Some(fault) =
        worst(findings, tenants::ENCRYPTION).filter(|finding| finding.verdict != Verdict::Ok)
    {
        return fault;
    }
    Finding::warning(
        LINE,
        "personal data is sealed under a key per person, and its keys open; what is not sealed (balances, audit \
         records) is protected by the disk, which cannot be judged from here",
        "lsblk -o NAME,TYPE,MOUNTPOINTS   (the volume of PostgreSQL's data directory must be of type crypt)",
    )
}

fn rates(patient: &Patient<'_>, findings: &[Finding]) -> Finding {
    match worst(findings, tenants::STANDARDS) {
        None => Finding::skipped(LINE, "the tenants' policies could not be read"),
        Some(finding) if finding.verdict == Verdict::Fault => finding,
        Some(finding) if finding.verdict == Verdict::Skipped => {
            Finding::skipped(LINE, "the tenants' policies could not be read")
        }
        Some(_) => {
            let counted = match patient.configuration.shared_store() {
                Ok(Some(_)) => {
                    "counted over all nodes in REDIS_URL, on each by itself while that is away"
                }
                _ => "counted on each node by itself: REDIS_URL is not set",
            };
            let found = format!(
                "every tenant's policy limits requests by class, person and address, and `serve` has no switch to \
                 turn that off; {counted}"
            );
            Finding::ok(LINE, found)
        }
    }
}

fn headers(server: Option<&Answer>) -> Finding {
    let Some(answer) = server else {
        return Finding::skipped(LINE, "no server answers; run this beside one: strongroom serve");
    };
    let missing: Vec<_> = HEADERS
        .iter()
        .filter(|wanted| answer.headers.iter().all(|(name, _)| name != *wanted))
        .copied()
        .collect();
    if missing.is_empty() {
        return Finding::ok(LINE, format!("the running server sends {}", HEADERS.join(", ")));
    }
    Finding::fault(
        LINE,
        format!("the running server does not send {}", missing.join(", ")),
        "strongroom --version   (is it this binary that answers there?)",
    )
}

fn audited(findings: &[Finding]) -> Finding {
    let judged = [tenants::SEALER, tenants::CHECKPOINTS, super::triggers::TRIGGERS]
        .iter()
        .filter_map(|check| worst(findings, check))
        .max_by_key(|finding| finding.verdict);
    match judged {
        Some(finding) if finding.verdict == Verdict::Ok => Finding::ok(
            LINE,
            "always on: every command leaves a record in its own transaction; sealing keeps up and the last checkpoints verify",
        ),
        Some(finding) => finding,
        None => Finding::skipped(LINE, "the audit log could not be looked at"),
    }
}

fn monitored(patient: &Patient<'_>, has_figures: bool) -> Finding {
    let address = patient
        .configuration
        .running()
        .map(|running| running.metrics_url.clone())
        .or_else(|| {
            patient.configuration.metrics_address().ok().map(|address| format!("http://{address}"))
        })
        .unwrap_or_default();
    let figures = if has_figures {
        format!("{address}/metrics answers in Prometheus' format")
    } else {
        format!("{address}/metrics does not answer: no server runs")
    };
    Finding::warning(
        LINE,
        format!(
            "{figures}; alert rules lie in ops/alerts, a dashboard is not built yet, and whether anybody watches cannot be seen from here"
        ),
        format!(
            "curl -fsS {address}/metrics   (let Prometheus scrape it, and load ops/alerts/strongroom.rules.yaml)"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::{HEADERS, audited, headers, worst};
    use crate::cli::doctor::report::{Finding, Verdict};
    use crate::cli::doctor::service::Answer;
    use crate::cli::doctor::tenants::{CHECKPOINTS, SEALER};

    #[test]
    fn headers_are_judged_by_what_was_sent() {
        let answer = |names: &[&str]| Answer {
            status: 200,
            headers: names.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect(),
            line: String::new(),
        };
        assert_eq!(headers(Some(&answer(&HEADERS))).verdict, Verdict::Ok);
        let lacking = headers(Some(&answer(&HEADERS[1..])));
        assert_eq!(lacking.verdict, Verdict::Fault);
        assert!(lacking.found.contains("strict-transport-security"), "{lacking:?}");
        assert_eq!(headers(None).verdict, Verdict::Skipped);
    }

    #[test]
    fn the_audit_line_is_as_good_as_its_worst_part() {
        let good = [Finding::ok(SEALER, ""), Finding::ok(CHECKPOINTS, "")];
        assert_eq!(audited(&good).verdict, Verdict::Ok);
        let bad = [Finding::ok(SEALER, ""), Finding::fault(CHECKPOINTS, "changed", "verify")];
        assert_eq!(audited(&bad).verdict, Verdict::Fault);
        assert_eq!(audited(&[]).verdict, Verdict::Skipped);
        assert_eq!(worst(&bad, CHECKPOINTS).map(|one| one.verdict), Some(Verdict::Fault));
    }
}
