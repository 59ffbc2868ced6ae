//! Owns what a machine of AWS is told of itself: `IMDSv2`, which wants a token for each session so
//! that a forwarded request reads nothing.

use hyper::Method;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::credentials::Credentials;
use crate::ask::{Answered, Place, Question, ask};
use crate::{Refusal, Stores};

const ENDPOINT: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
const HERE: &str = "http://169.254.169.254";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
const NONE: Refusal = Refusal::NoCredentials(
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role",
);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OfRole {
    access_key_id: String,
    secret_access_key: String,
    token: String,
}

pub(super) async fn credentials(stores: &Stores<'_>) -> Result<Credentials, Refusal> {
    let session = Session::open(stores).await?;
    let role = session.get(ROLES).await.map_err(|_| NONE)?.text()?;
    let is_role = |name: &&str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte))
    };
    let role = role.lines().next().map(str::trim).filter(is_role).ok_or(NONE)?;
    let given: OfRole = session.get(&format!("{ROLES}{role}")).await?.json()?;
    Ok(Credentials {
        id: given.access_key_id,
        secret: Zeroizing::new(given.secret_access_key),
        token: Some(Zeroizing::new(given.token)),
    })
}

pub(super) async fn region(stores: &Stores<'_>) -> Result<String, Refusal> {
    let session = Session::open(stores).await.map_err(|_| Refusal::NoRegion)?;
    let region = session.get("/latest/meta-data/placement/region").await;
    Ok(region.map_err(|_| Refusal::NoRegion)?.text()?.trim().to_owned())
}

struct Session {
    base: String,
    token: Zeroizing<String>,
}

impl Session {
    async fn open(stores: &Stores<'_>) -> Result<Self, Refusal> {
        let is_off = stores.variable("AWS_EC2_METADATA_DISABLED");
        if is_off.is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Err(NONE);
        }
        let base = stores.variable(ENDPOINT).unwrap_or(HERE).trim_end_matches('/').to_owned();
        let lifetime = [("x-aws-ec2-metadata-token-ttl-seconds", "60")];
        let url = format!("{base}/latest/api/token");
        let answer = asked(Method::PUT, &url, &lifetime).await;
        // Nobody there is the ordinary case outside AWS: what is missing is credentials.
        let answer = answer.map_err(|refusal| match refusal {
            Refusal::Unreached(..) => NONE,
            other => other,
        })?;
        Ok(Self { base, token: answer.text()? })
    }

    async fn get(&self, path: &str) -> Result<Answered, Refusal> {
        let token = [("x-aws-ec2-metadata-token", self.token.as_str())];
        asked(Method::GET, &format!("{}{path}", self.base), &token).await
    }
}

async fn asked(method: Method, url: &str, headers: &[(&str, &str)]) -> Result<Answered, Refusal> {
    let place = Place { who: "the machine's metadata", variable: ENDPOINT, is_metadata: true };
    ask(Question { place, method, url, headers, body: b"" }).await?.or_refused()
}
