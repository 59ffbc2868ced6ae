//! Owns Azure Key Vault: a token for an application or for the machine's own identity, and the
//! secret that it opens.

use hyper::Method;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::ask::{Place, Question, ask};
use crate::{Reference, Refusal, Stores};

const VAULT: Place =
    Place { who: "Azure Key Vault", variable: "AZURE_KEYVAULT_ENDPOINT", is_metadata: false };
const AUTHORITY: Place =
    Place { who: "Microsoft Entra ID", variable: "AZURE_AUTHORITY_HOST", is_metadata: false };
const MACHINE: Place = Place {
    who: "the machine's metadata",
    variable: "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    is_metadata: true,
};
const NONE: Refusal = Refusal::NoCredentials(
    "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or give the machine an identity",
);
const RESOURCE: &str = "https://vault.azure.net";
const VERSION: &str = "7.4";

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

#[derive(Deserialize)]
struct Kept {
    value: String,
}

pub(crate) async fn fetch(
    stores: &Stores<'_>,
    reference: &Reference,
) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let Reference::AzureSecret { vault, name, version } = reference else {
        return Err(Refusal::NotFound);
    };
    let token = match stores.variable("AZURE_CLIENT_SECRET") {
        Some(secret) => of_application(stores, secret).await?,
        None => of_machine(stores).await?,
    };
    let base = base(stores, VAULT, &format!("https://{vault}.vault.azure.net"));
    let version = version.as_ref().map(|version| format!("/{version}")).unwrap_or_default();
    let bearer = Zeroizing::new(format!("Bearer {}", *token));
    let answer = ask(Question {
        place: VAULT,
        method: Method::GET,
        url: &format!("{base}/secrets/{name}{version}?api-version={VERSION}"),
        headers: &[("authorization", &bearer)],
        body: b"",
    })
    .await?;
    let kept: Kept = answer.or_refused()?.json()?;
    Ok(Zeroizing::new(kept.value.into_bytes()))
}

fn base(stores: &Stores<'_>, place: Place, otherwise: &str) -> String {
    stores.variable(place.variable).unwrap_or(otherwise).trim_end_matches('/').to_owned()
}

/// OAuth 2.0 client credentials.
async fn of_application(stores: &Stores<'_>, secret: &str) -> Result<Zeroizing<String>, Refusal> {
    let (tenant, client) =
        stores.variable("AZURE_TENANT_ID").zip(stores.variable("AZURE_CLIENT_ID")).ok_or(NONE)?;
    // It becomes part of a path.
    let is_tenant =
        tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if !is_tenant {
        return Err(NONE);
    }
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", client)
        .append_pair("client_secret", secret)
        .append_pair("scope", &format!("{RESOURCE}/.default"))
        .finish();
    let form = Zeroizing::new(form);
    let base = base(stores, AUTHORITY, "https://login.microsoftonline.com");
    let answer = ask(Question {
        place: AUTHORITY,
        method: Method::POST,
        url: &format!("{base}/{tenant}/oauth2/v2.0/token"),
        headers: &[("content-type", "application/x-www-form-urlencoded")],
        body: form.as_bytes(),
    })
    .await?;
    // RFC 6749 has 400 for a wrong secret as well.
    if answer.status.is_client_error() {
        return Err(Refusal::Denied);
    }
    Ok(Zeroizing::new(answer.or_refused()?.json::<Token>()?.access_token))
}

/// A managed identity, of the machine or of those it has the one that `AZURE_CLIENT_ID` names.
async fn of_machine(stores: &Stores<'_>) -> Result<Zeroizing<String>, Refusal> {
    let client = stores.variable("AZURE_CLIENT_ID").map(|client| ("client_id", client));
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("api-version", "2018-02-01")
        .append_pair("resource", RESOURCE)
        .extend_pairs(client)
        .finish();
    let base = base(stores, MACHINE, "http://169.254.169.254");
    let answer = ask(Question {
        place: MACHINE,
        method: Method::GET,
        url: &format!("{base}/metadata/identity/oauth2/token?{query}"),
        headers: &[("metadata", "true")],
        body: b"",
    })
    .await;
    // Nobody there is the ordinary case outside Azure: what is missing is credentials.
    let answer = answer.map_err(|refusal| match refusal {
        Refusal::Unreached(..) => NONE,
        other => other,
    })?;
    if answer.status.is_client_error() {
        return Err(NONE);
    }
    Ok(Zeroizing::new(answer.or_refused()?.json::<Token>()?.access_token))
}
