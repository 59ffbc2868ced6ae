//! How good a password is, as advice: the tenant's rules say what is refused, an estimate
//! of the guesses it would take says the rest.
//!
//! Nothing of a password is kept, logged or stored. Refuses to decide: a password that
//! obeys the rules is accepted whatever the estimate.

use std::sync::Arc;

use operation::{FieldError, OperationError, Refusal, RefusalKind};
use tenancy::{OpContext, TenantRef};
use zeroize::Zeroizing;
use zxcvbn::zxcvbn;

use crate::{Identity, password_policy::broken_rules};

/// What is estimated of a password, in characters: the work grows with the square of it.
const ESTIMATED_MAX: usize = 64;

/// A password on its way to being chosen, and whose it would be.
pub struct PasswordTried {
    /// As typed so far.
    pub password: Zeroizing<String>,
    /// User name, e-mail address and name, as far as they are known.
    pub names: Vec<String>,
}

impl std::fmt::Debug for PasswordTried {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PasswordTried(redacted)")
    }
}

/// What is to be said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct PasswordAdvice {
    /// Every rule of the tenant that it breaks.
    pub broken: Vec<FieldError>,
    /// 0 (guessed at once) to 4 (very unlikely to be guessed).
    pub score: u8,
    /// The logarithm to base 10 of the guesses it would take.
    pub guesses_log10: f64,
    /// What is weak about it.
    pub warning: Option<String>,
    /// What would make it better.
    pub suggestions: Vec<String>,
}

impl Identity {
    /// Rules and estimate of one password. 503 where too many are asked about at once.
    pub async fn advise_on_password(
        &self,
        tenant: Arc<TenantRef>,
        tried: PasswordTried,
    ) -> Result<PasswordAdvice, OperationError> {
        let context =
            OpContext::system(tenant, tenancy::ActorKind::Anonymous, self.inner.clock.clone());
        let policy = self.state(&context).await?.policy.password.clone();
        let busy = || {
            Refusal::new(RefusalKind::Unavailable, "busy", "Try again in 1 seconds").retry_after(1)
        };
        // Nobody queues here: what waits would hold a stranger's passwords in memory.
        let permit = Arc::clone(&self.inner.estimates).try_acquire_owned().map_err(|_| busy())?;
        let advice = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let names: Vec<&str> = tried.names.iter().map(String::as_str).collect();
            let broken = broken_rules(&policy, &tried.password, &names);
            estimate(&tried.password, &names, broken)
        });
        advice.await.map_err(|_| OperationError::Aborted)
    }
}

fn estimate(password: &str, names: &[&str], broken: Vec<FieldError>) -> PasswordAdvice {
    let start: Zeroizing<String> = Zeroizing::new(password.chars().take(ESTIMATED_MAX).collect());
    let estimate = zxcvbn(&start, names);
    let feedback = estimate.feedback();
    let warning = feedback.and_then(zxcvbn::feedback::Feedback::warning);
    PasswordAdvice {
        broken,
        score: u8::from(estimate.score()),
        guesses_log10: estimate.guesses_log10(),
        warning: warning.map(|warning| warning.to_string()),
        suggestions: feedback
            .map(|feedback| feedback.suggestions().iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::estimate;

    #[test]
    fn the_estimate_tells_the_weak_from_the_strong_and_knows_ones_name() {
        // password, the least and the greatest score
        let table = [
            ("", 0, 0),
            ("Password123!", 0, 1),
            ("alice.liddell", 0, 1),
            ("Summer2026!!", 0, 3),
            ("correct horse battery staple", 4, 4),
            ("Kv7#qLw2$zR9", 4, 4),
        ];
        for (password, least, greatest) in table {
            let advice = estimate(password, &["alice.liddell"], Vec::new());
            assert!((least..=greatest).contains(&advice.score), "{password}: {}", advice.score);
            assert_eq!(advice.score < 3, !advice.suggestions.is_empty(), "{password}");
        }
    }

    #[test]
    fn a_long_password_costs_no_more_than_a_bounded_one() {
        let hostile = "aA1!".repeat(250_000);
        let started = Instant::now();
        let advice = estimate(&hostile, &[], Vec::new());
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert_eq!(advice, estimate(&hostile[..64], &[], Vec::new()));
    }
}
