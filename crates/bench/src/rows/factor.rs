//! Owns the row of second factors: how long one verification takes. Refuses to know how the
//! server keeps them.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{Effort, figures};
use crate::load::{Connection, write_request};
use crate::report::Outcome;
use crate::stage::{Person, Stage, login_body, sign_in};
use crate::statistics::{float, percentile};

/// People who are enrolled, the last of all: other rows sign in by password alone.
const PEOPLE: usize = 8;
const PEOPLE_QUICK: usize = 1;
const RAISE_LIMIT: &str = "UPDATE security_policies \
    SET policy = jsonb_set(policy, '{rate_limits,mfa}', '1000000') WHERE tenant_id = $1";
/// After so long every node has read a change of policy.
const POLICY_READ: Duration = Duration::from_millis(1_100);
const STEP_S: i64 = 30;

/// Each person's ten backup codes, one after another, with nothing else going on.
pub(super) async fn verification(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    stage.client().await?.execute(RAISE_LIMIT, &[&stage.tenant]).await?;
    tokio::time::sleep(POLICY_READ).await;
    let mut client = Client { connection: Connection::open(stage.address).await? };
    let count = if effort.quick { PEOPLE_QUICK } else { PEOPLE };
    let (mut means_ms, mut each_us) = (Vec::new(), Vec::new());
    for person in stage.ready.manifest.users.iter().rev().take(count) {
        let codes = client.enrol(stage, person).await?;
        let mut pending = Vec::with_capacity(codes.len());
        for code in codes {
            pending.push((client.first_step(stage, person).await?, code));
        }
        let (mut spent, verifications) = (Duration::ZERO, pending.len());
        for (token, code) in pending {
            let body = json!({ "mfa_token": token, "method": "backup", "code": code });
            let started = Instant::now();
            client.ask("POST /v1/auth/mfa/verify", None, &body).await?;
            let took = started.elapsed();
            spent += took;
            each_us.push(u64::try_from(took.as_micros())?);
        }
        means_ms.push(spent.as_secs_f64() * 1e3 / float(verifications as u64));
    }
    let mut outcome = figures(&means_ms);
    let (calls, p99_us) = (each_us.len(), percentile(&mut each_us, 99));
    outcome.note = Some(format!("of {calls} calls p99 {:.1} ms", float(p99_us) / 1e3));
    Ok(outcome)
}

struct Client {
    connection: Connection,
}

impl Client {
    /// An authenticator app for them; their backup codes.
    async fn enrol(&mut self, stage: &Stage, person: &Person) -> anyhow::Result<Vec<String>> {
        let signed_in = sign_in(&mut self.connection, &stage.ready.manifest, person).await?;
        let bearer = Some(signed_in.access_token.as_str());
        let setup = json!({ "method": "totp" });
        let setup = self.ask("POST /v1/auth/mfa/setup", bearer, &setup).await?;
        let key = setup["manual_entry_key"].as_str().context("no key")?;
        let confirm = json!({ "code": code_now(key)? });
        let confirmed = self.ask("POST /v1/auth/mfa/confirm", bearer, &confirm).await?;
        let codes = confirmed["backup_codes"].as_array().context("no backup codes")?;
        codes.iter().map(|code| Ok(code.as_str().context("no text")?.to_owned())).collect()
    }

    /// The pending token of a sign-in.
    async fn first_step(&mut self, stage: &Stage, person: &Person) -> anyhow::Result<String> {
        let body = serde_json::from_str(&login_body(&stage.ready.manifest, person))?;
        let answer = self.ask("POST /v1/auth/login", None, &body).await?;
        Ok(answer["mfa_token"].as_str().context("no second step")?.to_owned())
    }

    async fn ask(
        &mut self,
        line: &str,
        bearer: Option<&str>,
        body: &Value,
    ) -> anyhow::Result<Value> {
        let mut request = Vec::new();
        write_request(&mut request, line, bearer, None, Some(&body.to_string()));
        let answer = self.connection.call(&request).await?;
        let said = String::from_utf8_lossy(answer.body);
        anyhow::ensure!(answer.status == 200, "{line} answered {}: {said}", answer.status);
        Ok(serde_json::from_slice(answer.body)?)
    }
}

/// RFC 6238 with SHA-1, six digits and 30 seconds, of a secret in base 32.
#[expect(clippy::disallowed_methods, reason = "an authenticator app has the machine's clock")]
fn code_now(key: &str) -> anyhow::Result<String> {
    code_at(key, jiff::Timestamp::now().as_second() / STEP_S)
}

fn code_at(key: &str, step: i64) -> anyhow::Result<String> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut secret, mut buffer, mut bits) = (Vec::new(), 0_usize, 0);
    for letter in key.chars() {
        buffer = (buffer << 5 | ALPHABET.find(letter).context("not base 32")?) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            secret.push(u8::try_from(buffer >> bits & 0xff)?);
        }
    }
    let mac = vault::hmac_sha1(&secret, &step.to_be_bytes());
    let word = mac.get(usize::from(mac[19] & 15)..).and_then(<[u8]>::first_chunk);
    let word = u32::from_be_bytes(*word.context("SHA-1 is longer")?);
    Ok(format!("{:06}", (word & 0x7fff_ffff) % 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::code_at;

    /// Appendix B of RFC 6238, the last six of its eight digits.
    #[test]
    fn codes_are_the_standards() {
        let key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        for (second, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")]
        {
            assert_eq!(code_at(key, second / 30).unwrap(), code);
        }
    }
}
