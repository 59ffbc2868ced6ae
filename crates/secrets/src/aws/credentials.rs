//! Owns who asks AWS, and where: the environment, then a profile that it names, then what the
//! machine was given (`metadata`). The first that is there is taken, whole.

use zeroize::Zeroizing;

use super::{metadata, profile};
use crate::{Refusal, Stores};

/// What requests are signed with.
pub(super) struct Credentials {
    pub(super) id: String,
    pub(super) secret: Zeroizing<String>,
    /// Of a session: they end.
    pub(super) token: Option<Zeroizing<String>>,
}

/// Who asks, and the region that is asked.
pub(super) struct Caller {
    pub(super) credentials: Credentials,
    pub(super) region: String,
}

impl Caller {
    pub(super) async fn of(stores: &Stores<'_>) -> Result<Self, Refusal> {
        let profile = stores.variable("AWS_PROFILE").map(|name| profile::read(stores, name));
        let named = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        let region = named.iter().find_map(|name| stores.variable(name)).map(str::to_owned);
        let region = region.or_else(|| profile.as_ref().and_then(|profile| profile.region.clone()));
        let credentials = match (from_environment(stores)?, profile) {
            (Some(credentials), _) => credentials,
            (None, Some(profile)) => profile.credentials.ok_or(Refusal::NoCredentials(
                "AWS_PROFILE names a profile without a key in the shared credentials file",
            ))?,
            (None, None) => metadata::credentials(stores).await?,
        };
        let region = match region {
            Some(region) => region,
            None => metadata::region(stores).await?,
        };
        // It becomes part of a host's name.
        let is_region = !region.is_empty()
            && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_region { Ok(Self { credentials, region }) } else { Err(Refusal::NoRegion) }
    }
}

fn from_environment(stores: &Stores<'_>) -> Result<Option<Credentials>, Refusal> {
    match (stores.variable("AWS_ACCESS_KEY_ID"), stores.variable("AWS_SECRET_ACCESS_KEY")) {
        (Some(id), Some(secret)) => Ok(Some(Credentials {
            id: id.to_owned(),
            secret: Zeroizing::new(secret.to_owned()),
            token: stores
                .variable("AWS_SESSION_TOKEN")
                .map(|token| Zeroizing::new(token.to_owned())),
        })),
        (None, None) => Ok(None),
        _ => Err(Refusal::NoCredentials("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together")),
    }
}
