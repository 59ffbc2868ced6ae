//! What leaves as a file, and what is proven from one: an exported log, a proof.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::BufReader;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use audit::cosignature::CosignatureVerifier;
use audit::note::NoteVerifier;
use audit::offline::{FileReport, KeySource, Trusted, verify_export};
use audit::portable::{PortableConsistency, PortableInclusion, PortableProof, Trust};
use audit::proof::{self, Inclusion};
use audit::query::Filter;
use operation::Call;
use operation::audit_views::{ProveConsistency, ProveEvent, RecordLogExport};
use serde::Serialize;
use tenancy::{ActorKind, OpContext};
use uuid::Uuid;

use super::super::exit::{Found, Usage};
use super::super::output::Output;
use super::super::progress::Progress;
use super::super::tenant::refused;
use super::told;
use crate::compose::Installation;
use crate::config::Configuration;
use crate::connect::connect;
use crate::serve;

pub(super) fn verify(
    file: &Path,
    keys: &[String],
    known_checkpoints: Vec<String>,
    output: Output,
) -> anyhow::Result<()> {
    let trusted = Trusted { keys: parsed(keys)?, known_checkpoints };
    let opened = File::open(file).with_context(|| file.display().to_string())?;
    let report = verify_export(BufReader::with_capacity(1 << 20, opened), &trusted)
        .with_context(|| file.display().to_string())?;
    output.list(
        &["tenant_id", "records", "checkpoints", "keys", "fault"],
        std::slice::from_ref(&report),
        |report: &FileReport| {
            vec![
                report.tenant_id.map(|id| id.to_string()).unwrap_or_default(),
                report.records.to_string(),
                report.checkpoints.to_string(),
                whose(report.keys).to_owned(),
                told(report.fault.as_ref()),
            ]
        },
    )?;
    match report.fault {
        None => Ok(()),
        Some(_) => Err(Found("the exported log is not as it was written".to_owned()).into()),
    }
}

fn whose(keys: KeySource) -> &'static str {
    match keys {
        KeySource::Given => "as given",
        KeySource::File => "from the file itself",
    }
}

pub(super) fn parsed(keys: &[String]) -> anyhow::Result<Vec<NoteVerifier>> {
    let parse = |text: &String| {
        NoteVerifier::parse(text).map_err(|error| Usage(format!("--key {text}: {error}")).into())
    };
    keys.iter().map(parse).collect()
}

pub(super) async fn export(
    slug: &str,
    path: &Path,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    let (installation, context) = installed(slug, configuration).await?;
    // Before anything is recorded as having left.
    let client = connect(&configuration.auditor_database()?).await?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let made = made.with_context(|| path.display().to_string())?;
    let command = RecordLogExport { format: "log", filter: Filter::default() };
    let call = Call { context, idempotency_key: None, command };
    installation.operations.run_one(call).await.map_err(refused)?;
    // The record of this export is in the file that it tells of.
    installation.sealer.drain().await?;
    let progress = Progress::new("records", 0);
    let mut out = tokio::fs::File::from_std(made);
    let exported = audit::export::export(&client, slug, &mut out, &mut |done, total| {
        progress.set_of(done, total);
    })
    .await?;
    out.sync_all().await?;
    drop(progress);
    let exported = exported.ok_or_else(|| Found(format!("there is no tenant {slug}")))?;
    output.one(&exported)
}

pub(super) async fn proof(
    slug: &str,
    event: Uuid,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    let (installation, context) = installed(slug, configuration).await?;
    installation.sealer.drain().await?;
    let (inclusion, keys) =
        installation.operations.read(&context, &ProveEvent(event)).await.map_err(refused)?;
    let Inclusion::Proven(proof) = inclusion else {
        return Err(Found(format!("event {event} is not sealed yet")).into());
    };
    output.json(&PortableInclusion::of(context.tenant_id(), *proof, &keys))?;
    read_is_recorded(&installation).await
}

pub(super) async fn consistency(
    slug: &str,
    from: u64,
    to: u64,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    let (installation, context) = installed(slug, configuration).await?;
    let view = ProveConsistency { from, to };
    let grown = installation.operations.read(&context, &view).await.map_err(refused)?;
    let signed = async |size| {
        let found = proof::checkpoint(&installation.app, &context, size).await?;
        anyhow::Ok(found.ok_or_else(|| Found(format!("no checkpoint of size {size} was signed")))?)
    };
    let ends = [signed(from).await?, signed(to).await?];
    let keys = proof::verifier_keys(&installation.app, &context).await?;
    output.json(&PortableConsistency::of(context.tenant_id(), ends, &grown, &keys))?;
    read_is_recorded(&installation).await
}

/// What a proof that was checked says.
#[derive(Serialize)]
struct Checked {
    proof: &'static str,
    tenant_id: Uuid,
    event_id: Option<Uuid>,
    log_index: Option<u64>,
    tree_size: u64,
    /// The log over all tenants' logs that it stands in, where a key of that was given.
    super_size: Option<u64>,
    /// Those of the given witnesses that cosigned it.
    cosigned_by: Vec<String>,
}

/// The keys that a proof is held against; of witnesses all have to have cosigned, or as many as
/// are said.
pub(super) fn trust(
    keys: &[String],
    witnesses: &[String],
    require: Option<usize>,
) -> anyhow::Result<Trust> {
    let parse = |text: &String| {
        CosignatureVerifier::parse(text)
            .map_err(|error| Usage(format!("--witness {text}: {error}")))
    };
    let witnesses = witnesses.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let required = require.unwrap_or(witnesses.len());
    let names: BTreeSet<&str> = witnesses.iter().map(CosignatureVerifier::name).collect();
    if required > names.len() {
        return Err(Usage(format!("--require {required}: {} are given", names.len())).into());
    }
    Ok(Trust { keys: parsed(keys)?, witnesses, required })
}

pub(super) fn check(file: &Path, trust: &Trust, output: Output) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let proof: PortableProof = serde_json::from_str(&text)
        .map_err(|_| Found(format!("{} is no proof", file.display())))?;
    let verified = proof
        .verify(trust)
        .map_err(|error| Found(format!("{} proves nothing: {error}", file.display())))?;
    output.one(&match proof {
        PortableProof::Inclusion(proof) => Checked {
            proof: "inclusion",
            tenant_id: proof.tenant_id,
            event_id: Some(proof.event_id),
            log_index: Some(proof.log_index),
            tree_size: proof.checkpoint.tree_size,
            super_size: verified.super_size,
            cosigned_by: verified.cosigned_by,
        },
        PortableProof::Consistency(proof) => Checked {
            proof: "consistency",
            tenant_id: proof.tenant_id,
            event_id: None,
            log_index: None,
            tree_size: proof.second.tree_size,
            super_size: None,
            cosigned_by: Vec::new(),
        },
    })
}

pub(super) async fn installed(
    slug: &str,
    configuration: &Configuration,
) -> anyhow::Result<(Installation, OpContext)> {
    configuration.check_form()?;
    let installation = Installation::assemble(serve::ingredients(configuration).await?)?;
    let context = installation.context(installation.tenant(slug).await?, ActorKind::Cli);
    Ok((installation, context))
}

/// A command's reads are recorded before it ends.
async fn read_is_recorded(installation: &Installation) -> anyhow::Result<()> {
    installation.operations.access_log().flush(&installation.app, true).await?;
    installation.sealer.drain().await?;
    Ok(())
}
