//! `strongroom events`: the log of events for people and their tools. Reads as the API does,
//! and has a webhook told again what it missed; the server delivers.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use clap::{Args, Subcommand};
use events::{Event, Page};
use serde::Serialize;
use serde_json::Value;
use tenancy::{ActorKind, OpContext};
use uuid::Uuid;
use webhooks::{Feed, Replay, Replayed};

use super::{
    exit::Usage,
    output::{Format, Output},
    tenant::refused,
};
use crate::{compose::Installation, config::Configuration, serve};

/// How often `tail` looks for more.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Reads of `tail` come to the audit log in one record a minute, as everybody's do.
const FLUSH_EVERY: u32 = 60;

/// Read the events of a tenant, and have webhooks told them again.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print events, oldest first, on from a position.
    List {
        /// From where, and which.
        #[command(flatten)]
        which: Which,
        /// At most so many; 1 to 200.
        #[arg(long, value_name = "COUNT")]
        limit: Option<u32>,
    },
    /// Print events as they happen, one JSON object a line, until interrupted. Without --after, those that are still to come.
    Tail {
        /// From where, and which.
        #[command(flatten)]
        which: Which,
    },
    /// Have events delivered again to a webhook, under the ids that they had: its receiver may have seen them. At most 10,000 at once.
    #[command(group = clap::ArgGroup::new("what").required(true))]
    Replay {
        /// The webhook.
        #[arg(value_name = "WEBHOOK")]
        webhook: Uuid,
        /// The tenant.
        #[arg(long, value_name = "SLUG")]
        tenant: String,
        /// All from this position on.
        #[arg(long, value_name = "POSITION", group = "what")]
        from: Option<i64>,
        /// This event; may be repeated.
        #[arg(long, value_name = "ID", group = "what")]
        event: Vec<Uuid>,
    },
}

/// From where, and which; all have to hold.
#[derive(Debug, Args)]
pub struct Which {
    /// The tenant.
    #[arg(long, value_name = "SLUG")]
    tenant: String,
    /// The position behind which to read on; 0 for the beginning.
    #[arg(long, value_name = "POSITION")]
    after: Option<i64>,
    /// By what happened, e.g. account.opened.
    #[arg(long = "type", value_name = "NAME")]
    event_type: Option<String>,
    /// By the kind of object, e.g. account.
    #[arg(long, value_name = "KIND")]
    object_type: Option<String>,
    /// By the object.
    #[arg(long, value_name = "ID")]
    object_id: Option<Uuid>,
}

/// An event as the API tells it.
#[derive(Serialize)]
struct Line {
    position: i64,
    event_id: Uuid,
    r#type: String,
    object_type: String,
    object_id: Uuid,
    sequence: i64,
    occurred_at: String,
    data: Option<Value>,
}

impl From<Event> for Line {
    fn from(event: Event) -> Self {
        Self {
            position: event.position,
            event_id: event.event_id,
            r#type: event.event_type,
            object_type: event.object_type,
            object_id: event.object_id,
            sequence: event.sequence,
            occurred_at: event.occurred_at.to_string(),
            data: event.data,
        }
    }
}

impl Which {
    fn feed(&self, after: Option<i64>, limit: Option<u32>) -> Feed {
        Feed {
            after,
            event_type: self.event_type.clone(),
            object_type: self.object_type.clone(),
            object_id: self.object_id,
            limit,
        }
    }
}

/// The installation, and the operator in a tenant of it.
struct Desk {
    installation: Installation,
    context: OpContext,
}

impl Desk {
    async fn open(tenant: &str, configuration: &Configuration) -> anyhow::Result<Self> {
        configuration.check_form()?;
        let installation = Installation::assemble(serve::ingredients(configuration).await?)?;
        let tenant = installation.tenant(tenant).await?;
        let context = installation.context(tenant, ActorKind::Cli);
        Ok(Self { installation, context })
    }

    async fn read(&self, feed: Feed) -> anyhow::Result<Page> {
        let operations = &self.installation.operations;
        let view = feed.view(operations, &self.context).map_err(|fault| {
            Usage(format!("--{}: {}", fault.field.replace('_', "-"), fault.message))
        })?;
        operations.read(&self.context, &view).await.map_err(refused)
    }

    /// What was read stands in the audit log when the command is over.
    async fn close(&self) -> anyhow::Result<()> {
        let Self { installation, .. } = self;
        installation.operations.access_log().flush(&installation.app, true).await?;
        installation.sealer.drain().await?;
        Ok(())
    }
}

pub(super) async fn run(
    command: Command,
    configuration: &Configuration,
    format: Format,
) -> anyhow::Result<()> {
    let output = Output::new(format);
    match command {
        Command::List { which, limit } => {
            let desk = Desk::open(&which.tenant, configuration).await?;
            let page = desk.read(which.feed(which.after, limit)).await?;
            list(page, output)?;
            desk.close().await
        }
        Command::Tail { which } => {
            let desk = Desk::open(&which.tenant, configuration).await?;
            let followed = tokio::select! {
                followed = follow(&desk, &which) => followed,
                interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
            };
            desk.close().await?;
            followed
        }
        Command::Replay { webhook, tenant, from, event } => {
            let desk = Desk::open(&tenant, configuration).await?;
            let replay = from.map_or(Replay::Events(event), Replay::From);
            let webhooks = &desk.installation.webhooks;
            let replayed = webhooks.replay(&desk.context, None, (webhook, replay)).await;
            let Replayed { count } = replayed.map_err(refused)?.output;
            output.one(&serde_json::json!({ "webhook": webhook, "events": count }))?;
            desk.close().await
        }
    }
}

fn list(page: Page, output: Output) -> anyhow::Result<()> {
    let (has_more, next) = (page.next_after < page.head, page.next_after);
    let lines: Vec<_> = page.events.into_iter().map(Line::from).collect();
    let headers = ["position", "occurred_at", "type", "object_type", "object_id", "sequence"];
    output.list(&headers, &lines, |line| {
        vec![
            line.position.to_string(),
            line.occurred_at.clone(),
            line.r#type.clone(),
            line.object_type.clone(),
            line.object_id.to_string(),
            line.sequence.to_string(),
        ]
    })?;
    if has_more && output.is_table() {
        writeln!(io::stderr().lock(), "The log goes on: --after {next}")?;
    }
    Ok(())
}

/// Until whoever reads has gone.
async fn follow(desk: &Desk, which: &Which) -> anyhow::Result<()> {
    let mut after = match which.after {
        Some(after) => after,
        None => desk.read(which.feed(None, Some(1))).await?.head,
    };
    let mut looks = 0;
    loop {
        let page = desk.read(which.feed(Some(after), None)).await?;
        let is_behind = page.next_after < page.head;
        after = page.next_after;
        for line in page.events.into_iter().map(Line::from) {
            let mut text = serde_json::to_string(&line)?;
            text.push('\n');
            match io::stdout().lock().write_all(text.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                written => written?,
            }
        }
        io::stdout().lock().flush()?;
        if !is_behind {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        looks += 1;
        if looks % FLUSH_EVERY == 0 {
            let own = &desk.installation;
            own.operations.access_log().flush(&own.app, false).await?;
        }
    }
}
