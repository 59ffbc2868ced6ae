//! Lists as files. A file is made page by page up to a bound, and where it ends before
//! the list does, a last line says so and where the rest is. That it leaves is recorded
//! before its first byte does: there is no other way to send one.
//!
//! Refuses to know what is listed.

use std::{future::Future, marker::PhantomData};

use access::{Permission, Resource};
use audit::EventType;
use axum::response::IntoResponse as _;
use http::{HeaderValue, header};
use operation::{Applied, Command, PageRequest, Target, command::Outcome, csv, event};
use serde_json::{Map, Value, json};
use tenancy::{DbError, OpContext, TenantTx};
use uuid::Uuid;

use crate::{
    fault::{Answer, Fault},
    params::Params,
    visitor::Visitor,
};

/// What one request may cost.
pub(crate) struct Bounds {
    /// Rows of a read.
    pub(crate) page_rows: u32,
    /// Rows of a file.
    pub(crate) rows: usize,
    /// Reads of a file, however few rows they give.
    pub(crate) reads: usize,
}

/// A kind of file.
pub(crate) trait File: Send + Sync + 'static {
    /// What the record calls it, like `account.export`.
    const ACTION: &'static str;
    /// The kind of thing in it, as audit records name it.
    const RESOURCE: &'static str;
    /// What it takes to have it.
    const PERMISSION: Permission;
    /// Whether it says who somebody is or how they are reached.
    const PERSONAL: bool;
    /// Its header line.
    const COLUMNS: &'static [&'static str];
    /// Filters that the record repeats: ids, dates and closed vocabularies.
    const TOLD: &'static [&'static str];
    /// Filters that the record only names, for people type into them what they like.
    const NAMED: &'static [&'static str];
}

/// What a file holds beneath its header.
pub(crate) struct Lines {
    pub(crate) rows: Vec<Vec<String>>,
    /// A last line for whoever reads it: that this is not all.
    pub(crate) note: Option<String>,
}

/// Refuses whoever may not have such a file, before anything is read for it.
pub(crate) async fn demand<F: File>(visitor: &Visitor) -> Result<(), Fault> {
    if visitor.may(F::PERMISSION) {
        return Ok(());
    }
    // Policy refuses it, and that is recorded.
    visitor.open(RecordExport::<F>::new(&Params::default(), None, 0)).await?;
    Err(Fault::denied())
}

/// The lines of the file at `path`: what its address asks for, from its cursor on.
pub(crate) async fn lines<F: File, R>(
    visitor: &Visitor,
    path: &str,
    params: &Params,
    bounds: &Bounds,
    mut read: impl FnMut(PageRequest) -> R,
) -> Result<Lines, Fault>
where
    R: Future<Output = Result<(Vec<Vec<String>>, Option<String>), Fault>>,
{
    demand::<F>(visitor).await?;
    let mut after = visitor.page_request(path, params).await?.after;
    let mut lines: Vec<Vec<String>> = Vec::new();
    for _ in 0..bounds.reads {
        let left = bounds.rows.saturating_sub(lines.len());
        let limit = bounds.page_rows.min(u32::try_from(left).unwrap_or(u32::MAX));
        let (rows, next) = read(PageRequest { limit, after, ..PageRequest::default() }).await?;
        lines.extend(rows);
        after = next;
        if after.is_none() || lines.len() >= bounds.rows {
            break;
        }
    }
    let rest = visitor.next_page(path, params, after.as_deref()).await?;
    let note = rest.map(|rest| {
        let server = visitor.page("").public_url;
        format!("Not the whole list: {server}{rest} gives what follows")
    });
    Ok(Lines { rows: lines, note })
}

/// Records that a file leaves, and answers with it: `name.csv`. `object` is the one
/// thing that it is about.
pub(crate) async fn send<F: File>(
    visitor: &Visitor,
    name: &str,
    params: &Params,
    object: Option<Uuid>,
    lines: &Lines,
) -> Answer {
    visitor.open(RecordExport::<F>::new(params, object, lines.rows.len())).await?;
    let mut text = String::new();
    csv::line(&mut text, F::COLUMNS.iter().copied());
    for row in &lines.rows {
        csv::line(&mut text, row.iter().map(String::as_str));
    }
    if let Some(note) = &lines.note {
        csv::line(&mut text, [note.as_str()]);
    }
    let safe: String =
        name.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect();
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{safe}.csv\""));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
        (header::CONTENT_DISPOSITION, disposition.map_err(|_| Fault::internal())?),
    ];
    Ok((headers, text).into_response())
}

/// Writes down that somebody takes data away: which, by what filters, and how much.
struct RecordExport<F> {
    object: Option<Uuid>,
    details: Value,
    file: PhantomData<fn() -> F>,
}

impl<F: File> RecordExport<F> {
    fn new(params: &Params, object: Option<Uuid>, rows: usize) -> Self {
        let told = F::TOLD.iter().filter_map(|name| {
            params.get(name).map(|value| ((*name).to_owned(), Value::from(value)))
        });
        let named: Vec<_> = F::NAMED.iter().filter(|name| params.get(name).is_some()).collect();
        let mut details = Map::new();
        details.insert("rows".to_owned(), json!(rows));
        details.insert("filter".to_owned(), Value::Object(told.collect()));
        details.insert("filtered_by".to_owned(), json!(named));
        // A file that goes on where another ended.
        details.insert("continues".to_owned(), json!(params.get("cursor").is_some()));
        Self { object, details: Value::Object(details), file: PhantomData }
    }
}

impl<F: File> Command for RecordExport<F> {
    const NAME: &'static str = F::ACTION;
    const RESOURCE: &'static str = F::RESOURCE;
    type Output = ();

    fn permission(&self) -> Permission {
        F::PERMISSION
    }

    async fn target(
        &self,
        _transaction: &TenantTx,
        _context: &OpContext,
    ) -> Result<Target, DbError> {
        // The views behind it gave no more than is the actor's to see.
        let resource = Resource::for_permission(F::PERMISSION, self.object).owned(true);
        Ok(Target::Object { resource, read_permission: F::PERMISSION, field: None })
    }

    async fn execute(&self, _transaction: &TenantTx, context: &OpContext) -> Outcome<()> {
        let mut left = event(context, EventType::DataExport, Self::NAME, Self::RESOURCE)
            .details(self.details.clone());
        if let Some(object) = self.object {
            left = left.resource_id(object);
        }
        if F::PERSONAL {
            left = left.personal_fields();
        }
        Ok(Applied { output: (), status: 200, events: vec![left] })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use access::Permission;
    use serde_json::json;

    use super::{File, RecordExport};
    use crate::params::Params;

    struct Toys;

    impl File for Toys {
        const ACTION: &'static str = "toy.export";
        const RESOURCE: &'static str = "toy";
        const PERMISSION: Permission = Permission::ReportExport;
        const PERSONAL: bool = true;
        const COLUMNS: &'static [&'static str] = &["Name"];
        const TOLD: &'static [&'static str] = &["status"];
        const NAMED: &'static [&'static str] = &["email", "q"];
    }

    #[test]
    fn a_record_repeats_no_personal_filter_and_nothing_unknown() {
        let table = [
            ("", json!({ "rows": 3, "filter": {}, "filtered_by": [], "continues": false })),
            (
                "status=active&email=jana%40home.example&name=Jana&q=",
                json!({
                    "rows": 3, "filter": { "status": "active" }, "filtered_by": ["email"],
                    "continues": false,
                }),
            ),
            (
                "cursor=abc&q=Jana",
                json!({ "rows": 3, "filter": {}, "filtered_by": ["q"], "continues": true }),
            ),
        ];
        for (query, expected) in table {
            let params = Params::parse(query.as_bytes()).unwrap();
            let record = RecordExport::<Toys>::new(&params, None, 3);
            assert_eq!(record.details, expected, "{query}");
        }
    }
}
