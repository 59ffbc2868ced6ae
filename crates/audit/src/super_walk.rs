//! Owns what the super-log proves in a verification: that no checkpoint of a
//! tenant was removed since it was signed, and that the super-log itself is as
//! it was written.
//!
//! Refuses to know: records and the tenants' own trees.

use tenancy::DbError;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::fault::{Fault, FaultKind, whole_log};
use crate::merkle::STORED_LEVEL_MIN;
use crate::note::NoteVerifier;
use crate::rows::{hash_of, signed, unsigned};
use crate::super_log::super_log_name;
use crate::trust::notes_named;
use crate::walk::Walk;

const UNLIKE_CHECKPOINTS: &str = tenancy::sql!("audit/super_log.sql", "unlike_checkpoints");
const MAY_WALK: &str = tenancy::sql!("audit/super_log.sql", "may_walk");
const LEAVES_FROM: &str = tenancy::sql!("audit/super_log.sql", "leaves_from");
const CHECKPOINTS_BETWEEN: &str = tenancy::sql!("audit/super_log.sql", "checkpoints_between");
const WRONG_NODES: &str = tenancy::sql!("audit/super_log.sql", "wrong_nodes");
const ENDING: &str = tenancy::sql!("audit/super_log.sql", "ending");

/// The tenant's checkpoints against its leaves in the super-log; with the
/// platform the super-log itself, where the role may read it.
pub(crate) async fn fault(
    client: &Client,
    tenant_id: Uuid,
    (keys, known): (&[NoteVerifier], &[String]),
    page_rows: i64,
) -> Result<Option<Fault>, DbError> {
    if let Some(row) = client.query_opt(UNLIKE_CHECKPOINTS, &[&tenant_id]).await? {
        return Ok(Some(whole_log(unlike(&row)?)));
    }
    if !client.query_one(MAY_WALK, &[&tenant_id]).await?.try_get::<_, bool>("walks")? {
        return Ok(None);
    }
    let name = super_log_name(tenant_id);
    let keys = (keys.iter().map(|key| key.renamed(&name)).collect::<Result<Vec<_>, _>>())
        .map_err(|error| DbError::Corrupt(error.to_string()))?;
    let walk = match Walk::new(keys, notes_named(name, known)) {
        Ok(walk) => walk,
        Err(kind) => return Ok(Some(whole_log(kind))),
    };
    Ok(follow(client, walk, page_rows).await?.map(whole_log))
}

fn unlike(row: &Row) -> Result<FaultKind, DbError> {
    let tree_size = unsigned(row.try_get("tree_size")?)?;
    let (removed, unlogged): (bool, bool) = (row.try_get("removed")?, row.try_get("unlogged")?);
    Ok(match (removed, unlogged) {
        (true, _) => FaultKind::CheckpointRemoved { tree_size },
        (false, true) => FaultKind::CheckpointUnlogged { tree_size },
        (false, false) => FaultKind::CheckpointBad {
            tree_size,
            reason: "the super-log holds another note of this size".to_owned(),
        },
    })
}

fn bad(size: u64, reason: &str) -> FaultKind {
    FaultKind::SuperLogBad { size, reason: reason.to_owned() }
}

/// Every leaf in order: numbering, stored nodes, checkpoints.
async fn follow(
    client: &Client,
    mut walk: Walk,
    page_rows: i64,
) -> Result<Option<FaultKind>, DbError> {
    loop {
        let from = walk.size();
        let page = client.query(LEAVES_FROM, &[&signed(from)?, &page_rows]).await?;
        if page.is_empty() {
            return end(client, &walk).await;
        }
        let until = signed(from + page.len() as u64)?;
        let points = client.query(CHECKPOINTS_BETWEEN, &[&signed(from)?, &until]).await?;
        let mut points = points.iter().peekable();
        let mut nodes: (Vec<i16>, Vec<i64>, Vec<Vec<u8>>) = Default::default();
        for row in &page {
            if unsigned(row.try_get("log_index")?)? != walk.size() {
                return Ok(Some(bad(walk.size(), "a leaf is missing")));
            }
            let mut step = walk.leaf(hash_of(row, 1)?, |id, hash| {
                if id.level >= STORED_LEVEL_MIN {
                    nodes.0.push(i16::from(id.level));
                    nodes.1.push(i64::try_from(id.index).unwrap_or(i64::MAX));
                    nodes.2.push(hash.to_vec());
                }
            });
            let size = signed(walk.size())?;
            let point =
                points.next_if(|point| point.try_get("tree_size").is_ok_and(|at: i64| at == size));
            if let Some(point) = point {
                if hash_of(point, 1)? != walk.root() {
                    return Ok(Some(bad(walk.size(), "the leaves do not lead to the signed root")));
                }
                step = step.and(walk.checkpoint(point.try_get("note")?));
            }
            if let Err(kind) = step {
                return Ok(Some(bad(walk.size(), &kind.to_string())));
            }
        }
        let wrong = client.query_opt(WRONG_NODES, &[&nodes.0, &nodes.1, &nodes.2]).await?;
        if wrong.is_some() {
            return Ok(Some(bad(walk.size(), "a stored tree node is wrong or missing")));
        }
    }
}

/// What the sizes alone betray, after every leaf was found good.
async fn end(client: &Client, walk: &Walk) -> Result<Option<FaultKind>, DbError> {
    let leaves = walk.size();
    if let Err(kind) = walk.reaches(leaves) {
        return Ok(Some(kind));
    }
    let row = client.query_one(ENDING, &[&signed(leaves)?]).await?;
    if unsigned(row.try_get("signed_size")?)? != leaves {
        return Ok(Some(bad(leaves, "its last checkpoint is of another size")));
    }
    let has_more_nodes: bool = row.try_get("has_more_nodes")?;
    Ok(has_more_nodes.then(|| bad(leaves, "it holds more nodes than its leaves make")))
}
