//! A list as a file: page by page up to a bound, and where it ends before the list does,
//! a last line that says so and where the rest is.
//!
//! Refuses to know what is listed.

use std::future::Future;

use operation::PageRequest;

use crate::{fault::Fault, params::Params, visitor::Visitor};

/// What one request may cost.
pub(crate) struct Bounds {
    /// Rows of a read.
    pub(crate) page_rows: u32,
    /// Rows of a file.
    pub(crate) rows: usize,
    /// Reads of a file, however few rows they give.
    pub(crate) reads: usize,
}

/// The lines of the file at `path`: what its address asks for, from its cursor on.
pub(crate) async fn lines<F>(
    visitor: &Visitor,
    path: &str,
    params: &Params,
    bounds: &Bounds,
    mut read: impl FnMut(PageRequest) -> F,
) -> Result<Vec<Vec<String>>, Fault>
where
    F: Future<Output = Result<(Vec<Vec<String>>, Option<String>), Fault>>,
{
    let mut after = visitor.page_request(path, params).await?.after;
    let mut lines: Vec<Vec<String>> = Vec::new();
    for _ in 0..bounds.reads {
        let left = bounds.rows.saturating_sub(lines.len());
        let limit = bounds.page_rows.min(u32::try_from(left).unwrap_or(u32::MAX));
        let (rows, next) = read(PageRequest { limit, after }).await?;
        lines.extend(rows);
        after = next;
        if after.is_none() || lines.len() >= bounds.rows {
            break;
        }
    }
    if let Some(rest) = visitor.next_page(path, params, after.as_deref()).await? {
        let server = visitor.page("").public_url;
        lines.push(vec![format!("Not the whole list: {server}{rest} gives what follows")]);
    }
    Ok(lines)
}
