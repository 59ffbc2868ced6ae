//! Owns the four database roles and the ownership of the schema: what has to be
//! there before the first migration, because a migration belongs to one database
//! and a role to the whole cluster.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::MigrateError;

/// The database roles, none of which can log in: logins are made members.
pub const ROLES: [&str; 4] =
    ["strongroom_owner", "strongroom_app", "strongroom_sealer", "strongroom_auditor"];

const MISSING: &str = "SELECT wanted FROM unnest($1::text[]) AS wanted \
     WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = wanted)";

const SCHEMA_AND_DATABASE: &str = "\
     SELECT quote_ident(current_database()) AS database, quote_ident(current_user) AS login, \
            (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser, \
            pg_get_userbyid(nspowner) = 'strongroom_owner' AS owns_schema, \
            has_database_privilege('strongroom_owner', current_database(), 'CREATE') AS may_create \
       FROM pg_namespace WHERE nspname = 'public'";

/// Creates the roles that are missing and hands schema `public` of the current
/// database to `strongroom_owner`. Does nothing where all that is done already,
/// and then needs no privilege.
///
/// # Errors
/// [`MigrateError::NotAllowed`], with the statements an administrator has to
/// run, where this login lacks the privilege; [`MigrateError::Database`].
pub async fn ensure_roles(client: &Client) -> Result<(), MigrateError> {
    match prepare_database(client).await {
        Ok(true) => return Ok(()),
        // Without the grant option PostgreSQL merely warns.
        Ok(false) => {}
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {}
        Err(error) => return Err(error.into()),
    }
    Err(not_allowed(client).await?)
}

/// The statements that [`ensure_roles`] stands for, for an administrator to run
/// in that database; both names already quoted.
pub fn roles_sql(database: &str, login: &str) -> String {
    let create = ROLES.map(|role| format!("CREATE ROLE {role} NOLOGIN;\n")).concat();
    format!(
        "{create}GRANT {} TO {login};\nGRANT CREATE ON DATABASE {database} TO strongroom_owner;\n\
         ALTER SCHEMA public OWNER TO strongroom_owner;",
        ROLES.join(", ")
    )
}

/// The refusal that tells this connection's administrator what to run.
pub(super) async fn not_allowed(client: &Client) -> Result<MigrateError, MigrateError> {
    let names = "SELECT quote_ident(current_database()), quote_ident(current_user)";
    let row = client.query_one(names, &[]).await?;
    Ok(MigrateError::NotAllowed { sql: roles_sql(row.get(0), row.get(1)) })
}

/// Returns whether everything is in place afterwards.
async fn prepare_database(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let missing = client.query(MISSING, &[&ROLES.as_slice()]).await?;
    for row in &missing {
        create(client, row.get(0)).await?;
    }
    let state = client.query_one(SCHEMA_AND_DATABASE, &[]).await?;
    let (database, login): (&str, &str) = (state.get("database"), state.get("login"));
    if !missing.is_empty() && !state.get::<_, bool>("is_superuser") {
        // Since PostgreSQL 16 the creator of a role may not act as it by itself.
        client.batch_execute(&format!("GRANT {} TO {login}", ROLES.join(", "))).await?;
    }
    if !state.get::<_, bool>("may_create") {
        let grant = format!("GRANT CREATE ON DATABASE {database} TO strongroom_owner");
        client.batch_execute(&grant).await?;
    }
    if !state.get::<_, bool>("owns_schema") {
        client.batch_execute("ALTER SCHEMA public OWNER TO strongroom_owner").await?;
    }
    let state = client.query_one(SCHEMA_AND_DATABASE, &[]).await?;
    Ok(state.get("owns_schema") && state.get("may_create"))
}

/// Another runner may create the same role at the same moment.
async fn create(client: &Client, role: &str) -> Result<(), tokio_postgres::Error> {
    match client.batch_execute(&format!("CREATE ROLE {role} NOLOGIN")).await {
        Err(error)
            if error.code() == Some(&SqlState::DUPLICATE_OBJECT)
                || error.code() == Some(&SqlState::UNIQUE_VIOLATION) =>
        {
            Ok(())
        }
        result => result,
    }
}
