//! `strongroom user`: audited as the operator at the command line. A password
//! never stands in an argument, where every process of the machine could read it.

use std::io::{IsTerminal as _, Read as _, Write as _};

use clap::Subcommand;
use identity::{NewPassword, NewUser};
use serde::Serialize;
use tenancy::ActorKind;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::exit::Usage;
use super::output::Output;
use super::tenant::refused;
use crate::compose::Installation;
use crate::config::Configuration;
use crate::serve;

/// Create users.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a user of a tenant.
    Create {
        /// The tenant.
        #[arg(long, value_name = "SLUG")]
        tenant: String,
        /// The user name, unique in the tenant.
        #[arg(long)]
        username: String,
        /// A role of the tenant's blueprint.
        #[arg(long)]
        role: String,
        /// The e-mail address.
        #[arg(long)]
        email: Option<String>,
        /// The full name.
        #[arg(long)]
        full_name: Option<String>,
        /// The department, for policies by department.
        #[arg(long)]
        department: Option<String>,
        /// Read the password from standard input. Without it the password is asked for where standard input is a terminal, else the user has none yet.
        #[arg(long)]
        password_stdin: bool,
    },
}

#[derive(Serialize)]
struct Made {
    id: Uuid,
    tenant: String,
    username: String,
    role: String,
}

pub(super) async fn run(
    command: Command,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    configuration.check_form()?;
    let Command::Create { tenant, username, role, email, full_name, department, password_stdin } =
        command;
    let password = password(password_stdin)?;
    let installation = Installation::assemble(serve::ingredients(configuration).await?)?;
    let found = installation.tenant(&tenant).await?;
    let context = installation.context(found, ActorKind::Cli);
    let user = NewUser {
        username,
        email,
        phone: None,
        full_name,
        password,
        role,
        department,
        organization_id: None,
        referral_code: None,
    };
    let made =
        installation.identity.create_user(&context, None, user).await.map_err(refused)?.output;
    installation.sealer.drain().await?;
    output.one(&Made { id: made.id, tenant, username: made.username, role: made.role })
}

fn password(from_stdin: bool) -> anyhow::Result<NewPassword> {
    let mut text = Zeroizing::new(String::new());
    if from_stdin {
        std::io::stdin().take(4_096).read_to_string(&mut text)?;
    } else if std::io::stdin().is_terminal() {
        write!(std::io::stderr(), "Password (shown as you type; empty for none): ")?;
        std::io::stdin().read_line(&mut text)?;
    } else {
        return Ok(NewPassword::None);
    }
    let password = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
    if from_stdin && password.is_empty() {
        return Err(Usage("standard input holds no password".to_owned()).into());
    }
    Ok(if password.is_empty() { NewPassword::None } else { NewPassword::Plain(password) })
}
