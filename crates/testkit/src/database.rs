//! Owns a test's database: copied from a template that is migrated once for a
//! cluster and set of migrations, dropped at the end of the test.

use tenancy::migrate::{Migrator, ensure_roles};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::superuser_url;

/// Any fixed number: serialises the making of templates.
const TEMPLATE_LOCK: i64 = 0x7465_6d70_6c61_7465;

/// A database of one test's own; dropped with it.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
}

impl TestDatabase {
    /// A database with every migration applied.
    ///
    /// # Panics
    /// Where there is no cluster, or the migrations fail.
    pub async fn create() -> Self {
        let admin = admin().await;
        let template = template(&admin).await;
        Self::copy_of(&admin, &template).await
    }

    /// A database with the roles and the schema's ownership in place, but no
    /// migration applied.
    ///
    /// # Panics
    /// As [`Self::create`].
    pub async fn empty() -> Self {
        let database = Self::copy_of(&admin().await, "template0").await;
        let client = connect(&database.superuser_url()).await;
        ensure_roles(&client).await.unwrap_or_else(|error| panic!("roles: {error}"));
        database
    }

    /// What an older backup would bring back: a copy of it as it is now. Ends every
    /// connection to it first.
    ///
    /// # Panics
    /// Where somebody connects meanwhile.
    pub async fn copied(&self) -> Self {
        let admin = admin().await;
        let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = ";
        run(&admin, &format!("{end}'{}'", self.name)).await;
        Self::copy_of(&admin, &self.name).await
    }

    /// Its name, a plain identifier.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connection URL of the superuser.
    pub fn superuser_url(&self) -> String {
        url_of(&self.name)
    }

    /// Connection URL of a login that acts as `role` (for example
    /// `strongroom_app`) from its first statement on.
    pub fn url_as(&self, role: &str) -> String {
        format!("{}?options=-c%20role%3D{role}", self.superuser_url())
    }

    async fn copy_of(admin: &Client, template: &str) -> Self {
        let name = unique_name();
        run(admin, &format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        // A template's privileges on the database itself are not copied.
        if template != "template0" {
            run(admin, &format!("GRANT CREATE ON DATABASE {name} TO strongroom_owner")).await;
        }
        Self { name }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // The test's runtime may be the current thread, which is busy dropping us.
        let dropper = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async {
                let (client, connection) =
                    tokio_postgres::connect(superuser_url(), NoTls).await.ok()?;
                let driver = tokio::spawn(connection);
                // Best effort: the whole cluster goes away soon.
                let _ = client.batch_execute(&statement).await;
                drop(client);
                driver.await.ok()
            })
        });
        let _ = dropper.join();
    }
}

/// Connects and drives the connection on the current runtime.
///
/// # Panics
/// Where the server refuses.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .unwrap_or_else(|error| panic!("cannot connect to the test database: {error:?}"));
    tokio::spawn(connection);
    client
}

#[expect(clippy::disallowed_methods, reason = "a database's name is not a domain's id")]
fn unique_name() -> String {
    format!("test_{}", Uuid::now_v7().simple())
}

async fn admin() -> Client {
    let url = tokio::task::spawn_blocking(superuser_url).await.expect("start the test cluster");
    connect(url).await
}

/// The template's name; migrates it where this is the first test to ask.
async fn template(admin: &Client) -> String {
    let migrator = Migrator::embedded();
    let name = format!("strongroom_template_{}", &migrator.fingerprint()[..16]);
    if exists(admin, &name).await {
        return name;
    }
    run(admin, &format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})")).await;
    if !exists(admin, &name).await {
        make_template(admin, &migrator, &name).await;
    }
    run(admin, &format!("SELECT pg_advisory_unlock({TEMPLATE_LOCK})")).await;
    name
}

/// Migrates under another name and renames at the end, so that a test killed
/// half-way leaves no half-made template.
async fn make_template(admin: &Client, migrator: &Migrator, name: &str) {
    let unfinished = format!("{name}_unfinished");
    run(admin, &format!("DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)")).await;
    run(admin, &format!("CREATE DATABASE {unfinished} TEMPLATE template0")).await;
    let mut client = connect(&url_of(&unfinished)).await;
    ensure_roles(&client).await.unwrap_or_else(|error| panic!("roles: {error}"));
    migrator.up(&mut client, None).await.unwrap_or_else(|error| panic!("migrations: {error}"));
    drop(client);
    run(admin, &format!("ALTER DATABASE {unfinished} RENAME TO {name}")).await;
}

async fn exists(admin: &Client, name: &str) -> bool {
    let found = admin.query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&name]).await;
    found.expect("look for the template database").is_some()
}

async fn run(admin: &Client, statement: &str) {
    admin
        .batch_execute(statement)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {:?}", error.as_db_error()));
}

/// The cluster's URL with another database; its own may carry any path.
fn url_of(database: &str) -> String {
    let url = superuser_url();
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[after_scheme..].find('/').map_or(url.len(), |at| after_scheme + at);
    format!("{}/{database}", &url[..end])
}
