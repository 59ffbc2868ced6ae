//! Owns the installation that rows are measured on: the same binary as a demo
//! installation with its own private, durable cluster, people signed in, and the
//! limits' server and tables beside it. All of it ends with the run.
//!
//! Refuses to know the rows.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Deserialize;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::Setup;
use crate::bare::BareReady;
use crate::child::Process;
use crate::load::{Connection, write_request};

const LIMIT_TABLES: &str = include_str!("../sql/limit_tables.sql");
/// People who sign in; each owns a hundred accounts.
const SIGNED_IN: usize = 8;
const LOGIN_ATTEMPTS: usize = 40;
const WAITS: &str = "SELECT EXISTS (SELECT 1 FROM audit_inbox)";
const SEALING_LIMIT: Duration = Duration::from_secs(60);
const SEALED_POLL: Duration = Duration::from_millis(20);
const BUSY_PAUSE: Duration = Duration::from_millis(250);

/// What a development installation says when it is ready.
#[derive(Debug, Deserialize)]
pub(crate) struct Ready {
    pub(crate) base_url: String,
    pub(crate) database_url: String,
    pub(crate) encryption_key: String,
    pub(crate) manifest: Manifest,
}

/// The people of a load driver.
#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) tenant: String,
    pub(crate) password: String,
    pub(crate) currency: String,
    pub(crate) users: Vec<Person>,
}

/// One of them.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Person {
    pub(crate) username: String,
    pub(crate) accounts: Vec<Uuid>,
}

/// A person with a session.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn {
    pub(crate) person: Person,
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
}

#[derive(Deserialize)]
struct Grant {
    access_token: String,
    refresh_token: String,
}

/// Everything that rows share.
#[derive(Debug)]
pub(crate) struct Stage {
    // Fields drop in this order: who uses the database ends before its owner.
    _bare: Process,
    _server: Process,
    pub(crate) bare_address: SocketAddr,
    pub(crate) address: SocketAddr,
    pub(crate) ready: Ready,
    pub(crate) sessions: Vec<SignedIn>,
    pub(crate) tenant: Uuid,
    pub(crate) program: PathBuf,
    pub(crate) folder: TempDir,
}

impl Stage {
    /// Starts everything.
    pub(crate) async fn set_up(setup: &Setup) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let ready_file = folder.path().join("ready.json");
        // The goals of tokens are about RS256, which a core bank does not choose by itself.
        let settings = [("JWT_ALGORITHM", "RS256")];
        let log = folder.path().join("dev.log");
        let mut server = start_dev(&setup.program, &ready_file, &settings, log)?;
        let ready: Ready = server.ready_file(&ready_file).await?;
        let address = address_of(&ready.base_url)?;
        connect(&ready.database_url).await?.batch_execute(LIMIT_TABLES).await?;
        let bare_file = folder.path().join("bare.json");
        let bare_path = bare_file.to_str().context("the temporary folder's name is no text")?;
        let arguments: Vec<&str> =
            setup.bare_arguments.iter().map(String::as_str).chain([bare_path]).collect();
        let environment = [("DATABASE_URL", ready.database_url.as_str())];
        let log = folder.path().join("bare.log");
        let mut bare = Process::start(&setup.program, &arguments, &environment, log)?;
        let BareReady { port } = bare.ready_file(&bare_file).await?;
        let people = ready.manifest.users.iter().take(SIGNED_IN);
        let sessions = futures_util::future::try_join_all(people.map(async |person| {
            let mut connection = Connection::open(address).await?;
            sign_in(&mut connection, &ready.manifest, person).await
        }))
        .await?;
        let token = sessions.first().context("nobody can sign in")?.access_token.clone();
        let tenant = tenant_of(&token)?;
        Ok(Self {
            _bare: bare,
            _server: server,
            bare_address: SocketAddr::from(([127, 0, 0, 1], port)),
            address,
            ready,
            sessions,
            tenant,
            program: setup.program.clone(),
            folder,
        })
    }

    /// A connection of our own, as the cluster's superuser.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        connect(&self.ready.database_url).await
    }

    /// Waits until the sealer has caught up with what was written so far: whoever measures
    /// next would pay for it.
    pub(crate) async fn sealed(&self) -> anyhow::Result<()> {
        let client = self.client().await?;
        let deadline = Instant::now() + SEALING_LIMIT;
        while client.query_one(WAITS, &[]).await?.try_get::<_, bool>(0)? {
            anyhow::ensure!(Instant::now() < deadline, "the sealer does not keep up");
            tokio::time::sleep(SEALED_POLL).await;
        }
        Ok(())
    }

    /// Who owns what `connection` number uses: people take turns.
    pub(crate) fn session(&self, number: usize) -> &SignedIn {
        &self.sessions[number % self.sessions.len()]
    }

    /// The settings under which a second server finds this database and opens its keys.
    pub(crate) fn environment(&self) -> [(&str, &str); 3] {
        [
            ("DATABASE_URL", &self.ready.database_url),
            ("DATABASE_SEALER_URL", &self.ready.database_url),
            ("ENCRYPTION_KEY", &self.ready.encryption_key),
        ]
    }
}

/// `strongroom dev --seed load`, over its own cluster or the database that the
/// environment names.
pub(crate) fn start_dev(
    program: &Path,
    ready_file: &Path,
    environment: &[(&str, &str)],
    log: PathBuf,
) -> anyhow::Result<Process> {
    let path = ready_file.to_str().context("the temporary folder's name is no text")?;
    let arguments = ["dev", "--seed", "load", "--ephemeral", "--port", "0", "--ready-file", path];
    Process::start(program, &arguments, environment, log)
}

/// The loopback address of `http://localhost:port`.
pub(crate) fn address_of(base_url: &str) -> anyhow::Result<SocketAddr> {
    let port = base_url.rsplit(':').next().and_then(|port| port.parse().ok());
    let port: u16 = port.with_context(|| format!("no port in {base_url}"))?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// Connects and drives the connection until the client is dropped.
pub(crate) async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The body of a sign-in.
pub(crate) fn login_body(manifest: &Manifest, person: &Person) -> String {
    serde_json::json!({
        "tenant": manifest.tenant, "username": person.username, "password": manifest.password,
    })
    .to_string()
}

/// Signs somebody in, waiting while too many others do.
pub(crate) async fn sign_in(
    connection: &mut Connection,
    manifest: &Manifest,
    person: &Person,
) -> anyhow::Result<SignedIn> {
    let mut request = Vec::new();
    let body = login_body(manifest, person);
    write_request(&mut request, "POST /v1/auth/login", None, None, Some(&body));
    for _ in 0..LOGIN_ATTEMPTS {
        let answer = connection.call(&request).await?;
        match answer.status {
            200 => {
                let grant: Grant = serde_json::from_slice(answer.body)?;
                return Ok(SignedIn {
                    person: person.clone(),
                    access_token: grant.access_token,
                    refresh_token: grant.refresh_token,
                });
            }
            // More wait to be hashed than would finish in time.
            503 => tokio::time::sleep(BUSY_PAUSE).await,
            status => {
                anyhow::bail!("login answered {status}: {}", String::from_utf8_lossy(answer.body))
            }
        }
    }
    anyhow::bail!("login is busy")
}

/// The tenant that an access token names.
fn tenant_of(token: &str) -> anyhow::Result<Uuid> {
    use base64::Engine as _;

    #[derive(Deserialize)]
    struct Claims {
        tenant: Uuid,
    }
    let payload = token.split('.').nth(1).context("not a token")?;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload)?;
    Ok(serde_json::from_slice::<Claims>(&payload)?.tenant)
}
