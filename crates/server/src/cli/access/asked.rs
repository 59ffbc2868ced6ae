//! One decision of a tenant's person and object, which leaves a record as over the API.

use std::str::FromStr;

use access::ResourceKind;
use explain::{Explainer, KINDS};
use identity::Identity;
use tenancy::{ActorKind, OpContext};
use uuid::Uuid;

use super::{Question, tell};
use crate::cli::{
    exit::{Found, Usage},
    output::Output,
    tenant::refused,
};
use crate::compose::Installation;
use crate::config::Configuration;
use crate::serve;

/// An object by its kind and id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resource(ResourceKind, Uuid);

impl FromStr for Resource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, id) = text.split_once(':').ok_or("a kind, a colon, and an id")?;
        let known = KINDS.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(kind));
        let id = id.parse().map_err(|_| format!("{id} is no id"))?;
        Ok(Self(known.ok_or_else(|| format!("no facts are known of a {kind}"))?, id))
    }
}

pub(super) async fn explain(
    question: &Question,
    (tenant, actor): (&str, &str),
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    configuration.check_form()?;
    let installation = Installation::assemble(serve::ingredients(configuration).await?)?;
    let found = installation.tenant(tenant).await?;
    let context = installation.context(found, ActorKind::Cli);
    let wanted = explain::Question {
        person: person(&installation.identity, &context, actor).await?,
        permission: question.permission,
        object: question.resource.map(|Resource(kind, id)| (kind, id)),
        as_of: question.as_of,
    };
    if let Some((field, why)) = wanted.fault(context.clock.now()) {
        return Err(Usage(format!("{field}: {why}")).into());
    }
    let explainer = Explainer::new(installation.operations.clone(), installation.identity.clone());
    let told = explainer.explain(&context, &wanted).await.map_err(refused)?;
    installation.operations.access_log().flush(&installation.app, true).await?;
    installation.sealer.drain().await?;
    tell(told.explanation, output)
}

/// By id, or by user name.
async fn person(identity: &Identity, context: &OpContext, actor: &str) -> anyhow::Result<Uuid> {
    if let Ok(id) = actor.parse() {
        return Ok(id);
    }
    let named = identity.user_names(context, &[], &[actor]).await.map_err(refused)?;
    let (id, _) =
        named.first().ok_or_else(|| Found(format!("there is nobody of the user name {actor}")))?;
    Ok(*id)
}
