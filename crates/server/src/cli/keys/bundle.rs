//! The file that `keys export` writes and `keys import` reads: a line for what it is, a line a
//! part of a tenant's keys, and a line that authenticates all of them in their order.
//!
//! Refuses to know what a part says (`operation::BundlePart`).

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use operation::{BundlePart, KeysAdopted};
use serde::{Deserialize, Serialize};
use tenancy::{ActorKind, TenantRef};
use uuid::Uuid;

use super::tenants;
use crate::cli::{exit::Found, output::Output, tenant::refused};
use crate::compose::Installation;

const FORMAT: &str = "strongroom-keys/v1";

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    tenant: Uuid,
    part: BundlePart,
}

#[derive(Serialize, Deserialize)]
struct Tail {
    authenticated: String,
}

/// What was written of a tenant.
#[derive(Serialize)]
struct Written {
    tenant: String,
    subjects: usize,
}

/// What was taken into a tenant.
#[derive(Serialize)]
struct Adopted {
    tenant: String,
    #[serde(flatten)]
    keys: KeysAdopted,
}

pub(super) async fn export(
    installation: &Installation,
    file: &Path,
    output: Output,
) -> anyhow::Result<()> {
    let new = beside(file);
    let mut options = OpenOptions::new();
    let made = options.write(true).create(true).truncate(true).mode(0o600).open(&new);
    let mut bundle = BufWriter::new(made.with_context(|| new.display().to_string())?);
    let mut chain = installation.identity.bundle_chain();
    let mut write = |line: String| -> anyhow::Result<()> {
        chain.push(line.as_bytes());
        Ok(writeln!(bundle, "{line}")?)
    };
    write(serde_json::to_string(&Head { format: FORMAT.to_owned() })?)?;
    let mut written = Vec::new();
    for tenant in tenants(installation, None).await? {
        let subjects = tell(installation, &tenant, &mut write).await?;
        written.push(Written { tenant: tenant.slug.clone(), subjects });
    }
    let authenticated = STANDARD.encode(chain.finish());
    writeln!(bundle, "{}", serde_json::to_string(&Tail { authenticated })?)?;
    bundle.into_inner()?.sync_all()?;
    fs::rename(&new, file).with_context(|| file.display().to_string())?;
    output.list(&["tenant", "subjects"], &written, |line| {
        vec![line.tenant.clone(), line.subjects.to_string()]
    })
}

/// Every part of one tenant; how many data subjects they are of.
async fn tell(
    installation: &Installation,
    tenant: &Arc<TenantRef>,
    write: &mut impl FnMut(String) -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let context = installation.context(Arc::clone(tenant), ActorKind::Cli);
    let (mut after, mut subjects, mut end) = (None, 0, Vec::new());
    loop {
        let told = installation.identity.tell_keys(&context, after).await.map_err(refused)?;
        match &told.part {
            BundlePart::Keys { keks, .. } => end.clone_from(keks),
            BundlePart::Subjects(keys) => subjects += keys.len(),
            BundlePart::End { .. } => {}
        }
        write(serde_json::to_string(&Line { tenant: tenant.id.0, part: told.part })?)?;
        after = told.after;
        if after.is_none() {
            break;
        }
    }
    let part = BundlePart::End { keks: end };
    write(serde_json::to_string(&Line { tenant: tenant.id.0, part })?)?;
    Ok(subjects)
}

pub(super) async fn import(
    installation: &Installation,
    file: &Path,
    output: Output,
) -> anyhow::Result<()> {
    let mut bundle = File::open(file).with_context(|| file.display().to_string())?;
    // All of it is authenticated before any of it is taken.
    authenticate(installation, &bundle)
        .map_err(|fault| Found(format!("{}: {fault}", file.display())))?;
    bundle.rewind()?;
    let known = tenants(installation, None).await?;
    let mut adopted: Vec<Adopted> = Vec::new();
    for line in BufReader::new(bundle).lines().skip(1) {
        // What is no part is the last line, which authenticated them.
        let Ok(line) = serde_json::from_str::<Line>(&line?) else { break };
        // A tenant that came after the backup has nothing in it to be opened.
        let Some(tenant) = known.iter().find(|one| one.id.0 == line.tenant) else { continue };
        let context = installation.context(Arc::clone(tenant), ActorKind::Cli);
        let step = installation.identity.adopt_keys(&context, line.part).await.map_err(refused)?;
        if adopted.last().is_none_or(|last| last.tenant != tenant.slug) {
            adopted.push(Adopted { tenant: tenant.slug.clone(), keys: KeysAdopted::default() });
        }
        let Some(last) = adopted.last_mut() else { continue };
        last.keys.keks += step.keks;
        last.keys.data_keys += step.data_keys;
        last.keys.subject_keys += step.subject_keys;
        last.keys.erased += step.erased;
    }
    output.list(&["tenant", "keks", "data_keys", "subject_keys", "erased"], &adopted, |line| {
        let KeysAdopted { keks, data_keys, subject_keys, erased } = line.keys;
        let counts = [keks, data_keys, subject_keys, erased].map(|count| count.to_string());
        std::iter::once(line.tenant.clone()).chain(counts).collect()
    })
}

/// Whether the file is a bundle of this installation, as it was written.
fn authenticate(installation: &Installation, bundle: &File) -> Result<(), String> {
    let mut chain = installation.identity.bundle_chain();
    let mut last = None;
    for (at, line) in BufReader::new(bundle).lines().enumerate() {
        let line = line.map_err(|error| error.to_string())?;
        let head = || serde_json::from_str::<Head>(&line).ok();
        if at == 0 && head().is_none_or(|head| head.format != FORMAT) {
            return Err("is not what `strongroom keys export` writes".to_owned());
        }
        if let Some(before) = last.replace(line) {
            chain.push(before.as_bytes());
        }
    }
    let tail = last.and_then(|line| serde_json::from_str::<Tail>(&line).ok());
    let told = tail.and_then(|tail| STANDARD.decode(tail.authenticated).ok());
    match told {
        Some(told) if chain.is(&told) => Ok(()),
        Some(_) => Err("was altered, or written under another root".to_owned()),
        None => Err("is not whole".to_owned()),
    }
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    file.with_file_name(name)
}
