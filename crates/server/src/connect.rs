//! Owns single connections outside the pool: migrations, role checks, the
//! making of databases. It refuses to know what is asked over them.

use tenancy::{DatabaseConfig, DbError};
use tokio_postgres::Client;

/// Connects and drives the connection on the current runtime until the client is dropped.
pub async fn connect(config: &DatabaseConfig) -> Result<Client, DbError> {
    let (client, connection) = config
        .connection_config()?
        .connect(config.connector()?)
        .await
        .map_err(|error| DbError::Unavailable(describe(&error)))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended");
        }
    });
    Ok(client)
}

/// The driver says "db error"; what the server or the system said is what helps.
fn describe(error: &tokio_postgres::Error) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
