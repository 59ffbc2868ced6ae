//! Owns the question as whom we are logged in: a login that row security does
//! not bind must never serve outside development.

use tenancy::{DatabaseConfig, DbError};
use tokio_postgres::Client;

use crate::config::{Fault, Faults};
use crate::connect::connect;

const LOGIN: &str = tenancy::sql!("server/logins.sql", "login");

/// What a login is and could become.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column of the answer")]
struct Login {
    name: String,
    acts_as: String,
    is_superuser: bool,
    bypasses_row_security: bool,
    may_become_owner: bool,
    may_become_sealer: bool,
    may_become_app: bool,
    owns_tables: bool,
}

/// Decides how to act as `role` over a login that is it or a member of it.
///
/// # Errors
/// [`DbError`] where the database cannot be asked; [`Faults`] where the login is not a member.
pub async fn acting_as(
    mut config: DatabaseConfig,
    role: &'static str,
    setting: &str,
) -> anyhow::Result<DatabaseConfig> {
    let login = ask(&connect(&config).await?).await?;
    let may = match role {
        "strongroom_app" => login.may_become_app,
        "strongroom_sealer" => login.may_become_sealer,
        _ => login.may_become_owner || login.is_superuser,
    };
    if login.acts_as == role {
        return Ok(config);
    }
    if !may && !login.is_superuser {
        let message = format!(
            "logs in as {}, which may not act as {role}: GRANT {role} TO {}",
            login.name, login.name
        );
        return Err(Faults(vec![Fault { setting: setting.to_owned(), message }]).into());
    }
    config.set_role = Some(role);
    Ok(config)
}

/// What speaks against serving with this login outside development.
pub async fn faults_of_app_login(config: &DatabaseConfig) -> Result<Vec<Fault>, DbError> {
    let login = ask(&connect(config).await?).await?;
    let judged = [
        (login.is_superuser, "is a superuser: row security does not bind it"),
        (login.bypasses_row_security, "has BYPASSRLS: row security does not bind it"),
        (
            login.may_become_owner && !login.is_superuser,
            "is a member of strongroom_owner and could switch row security off",
        ),
        (login.owns_tables, "owns tables and could switch row security off"),
        (
            login.may_become_sealer && !login.is_superuser,
            "is a member of strongroom_sealer: give the sealer a login of its own (DATABASE_SEALER_URL)",
        ),
    ];
    Ok(judged
        .into_iter()
        .filter(|(wrong, _)| *wrong)
        .map(|(_, what)| Fault {
            setting: "DATABASE_URL".to_owned(),
            message: format!("logs in as {}, which {what}", login.name),
        })
        .collect())
}

async fn ask(client: &Client) -> Result<Login, DbError> {
    let row = client.query_one(LOGIN, &[]).await.map_err(DbError::from)?;
    Ok(Login {
        name: row.try_get("login")?,
        acts_as: row.try_get("acts_as")?,
        is_superuser: row.try_get("is_superuser")?,
        bypasses_row_security: row.try_get("bypasses_row_security")?,
        may_become_owner: row.try_get("may_become_owner")?,
        may_become_sealer: row.try_get("may_become_sealer")?,
        may_become_app: row.try_get("may_become_app")?,
        owns_tables: row.try_get("owns_tables")?,
    })
}
