//! Owns the first question: does PostgreSQL answer where we are told it is? A
//! refusal is sorted by what has to be done about it.
//!
//! It refuses to know what is asked over the connection.

use tenancy::{DatabaseConfig, DbError};
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config};

use super::report::Finding;

/// The name of this check.
pub(super) const REACHABLE: &str = "database.reachable";

/// Where a connection goes to, for people.
pub(super) struct Target {
    /// `host:port` or the socket's folder.
    pub place: String,
    /// Whether the server is on this machine.
    pub is_local: bool,
    /// Whether the connection is a Unix socket.
    pub is_socket: bool,
    login: String,
    database: String,
    port: u16,
}

impl Target {
    /// Of a parsed connection string.
    pub(super) fn of(config: &Config) -> Self {
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let login = config.get_user().unwrap_or("the system's account name").to_owned();
        let (place, is_local, is_socket) = match config.get_hosts().first() {
            Some(Host::Unix(folder)) => (folder.display().to_string(), true, true),
            Some(Host::Tcp(host)) => {
                let is_local =
                    ["localhost", "::1"].contains(&host.as_str()) || host.starts_with("127.");
                (format!("{host}:{port}"), is_local, false)
            }
            None => ("nowhere".to_owned(), false, false),
        };
        let database = config.get_dbname().unwrap_or(&login).to_owned();
        Self { place, is_local, is_socket, login, database, port }
    }

    /// Whether it can be a private cluster, which `dev` reaches at 127.0.0.1 alone.
    fn may_be_private(&self) -> bool {
        self.place.starts_with("127.0.0.1:")
    }
}

/// What the system or the server answered to an attempt to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    /// Nobody listens there.
    NobodyThere,
    /// The name or the way there is not known, or nobody answered in time.
    NoWay(String),
    /// SQLSTATE of a server that is there and said no.
    Server(String, String),
}

/// Connects, or says what has to be done before anybody can.
pub(super) async fn open(
    setting: &'static str,
    config: &DatabaseConfig,
    is_development: bool,
) -> Result<(Client, Target), Finding> {
    let complain = |error: DbError| Finding::fault(REACHABLE, error.to_string(), explain(setting));
    let parsed = config.connection_config().map_err(complain)?;
    let connector = config.connector().map_err(complain)?;
    let target = Target::of(&parsed);
    match parsed.connect(connector).await {
        Ok((client, connection)) => {
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended");
                }
            });
            Ok((client, target))
        }
        Err(error) => Err(refused(&sort(&error), setting, &target, is_development)),
    }
}

fn sort(error: &tokio_postgres::Error) -> Refusal {
    if let Some(server) = error.as_db_error() {
        return Refusal::Server(server.code().code().to_owned(), server.message().to_owned());
    }
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(system) = inner.downcast_ref::<std::io::Error>() {
            return match system.kind() {
                std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::NotFound => {
                    Refusal::NobodyThere
                }
                _ => Refusal::NoWay(system.to_string()),
            };
        }
        cause = inner.source();
    }
    Refusal::NoWay(error.to_string())
}

fn explain(setting: &str) -> String {
    format!("strongroom config explain {setting}")
}

fn refused(refusal: &Refusal, setting: &str, target: &Target, is_development: bool) -> Finding {
    let Target { place, login, database, port, .. } = target;
    let (found, mend) = match refusal {
        // What the note of `dev` does not say is whether it started that server itself.
        Refusal::NobodyThere if is_development && target.may_be_private() => (
            format!(
                "PostgreSQL does not answer at {place}, where the running `dev` has its database"
            ),
            format!(
                "stop `dev` (Ctrl-C) and start it again: ./scripts/dev   (it starts its own PostgreSQL; one that it was \
                 given as {setting}, start first: {})",
                start(setting, target)
            ),
        ),
        Refusal::NobodyThere => (
            format!(
                "nobody answers at {place}: PostgreSQL is stopped, or {setting} names another place"
            ),
            start(setting, target),
        ),
        Refusal::NoWay(words) => (
            format!("{place} cannot be reached: {words}"),
            format!("pg_isready -h {} -p {port}   ({setting} names this place)", host(target)),
        ),
        Refusal::Server(state, words) => said_no(state, words, setting, (login, database)),
    };
    Finding::fault(REACHABLE, found, mend)
}

/// How a server is started that is nobody's private one.
fn start(setting: &str, target: &Target) -> String {
    let (host, port) = (host(target), target.port);
    if target.is_local {
        format!("sudo systemctl start postgresql   (then: pg_isready -h {host} -p {port})")
    } else {
        format!("pg_isready -h {host} -p {port}   (start the server there, or mend {setting})")
    }
}

/// SQLSTATEs of appendix A of PostgreSQL's manual that a start of a connection meets.
fn said_no(
    state: &str,
    words: &str,
    setting: &str,
    (login, database): (&str, &str),
) -> (String, String) {
    match state {
        "28P01" => (
            format!("PostgreSQL refuses the password of {login} in {setting}"),
            format!(
                "sudo -u postgres psql -c '\\password {login}'   (and put the same one into {setting})"
            ),
        ),
        "28000" => (
            format!("PostgreSQL does not let {login} in: {words}"),
            format!("sudo -u postgres createuser {login}   (or allow it in pg_hba.conf)"),
        ),
        "3D000" => (
            format!("there is no database {database} at the place that {setting} names"),
            format!("sudo -u postgres createdb {database}   (then: strongroom migrate up)"),
        ),
        "53300" => (
            "PostgreSQL takes no further connection".to_owned(),
            "sudo -u postgres psql -c 'ALTER SYSTEM SET max_connections = 200'   (and restart it), or lower \
             DATABASE_POOL_SIZE"
                .to_owned(),
        ),
        "57P03" => (
            "PostgreSQL is starting, stopping or recovering".to_owned(),
            "wait, and run `strongroom doctor` again".to_owned(),
        ),
        _ => (format!("PostgreSQL refuses the connection: {words} [{state}]"), explain(setting)),
    }
}

fn host(target: &Target) -> &str {
    if target.is_socket {
        &target.place
    } else {
        target.place.rsplit_once(':').map_or(target.place.as_str(), |(host, _)| host)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Refusal, Target, refused};

    fn target(url: &str) -> Target {
        Target::of(&url.parse().unwrap())
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        let local = "postgres://app:hidden@127.0.0.1:5433/bank";
        let server = |state: &str| Refusal::Server(state.to_owned(), "words".to_owned());
        let table = [
            (
                Refusal::NobodyThere,
                local,
                false,
                "sudo systemctl start postgresql   (then: pg_isready -h 127.0.0.1 -p 5433)",
            ),
            (
                Refusal::NobodyThere,
                local,
                true,
                "stop `dev` (Ctrl-C) and start it again: ./scripts/dev",
            ),
            // `dev` may have been given that server: starting `dev` anew is not enough then.
            (
                Refusal::NobodyThere,
                local,
                true,
                "start first: sudo systemctl start postgresql   (then: pg_isready -h 127.0.0.1 -p 5433)",
            ),
            (
                Refusal::NobodyThere,
                "postgres://app@db.example/bank",
                false,
                "pg_isready -h db.example -p 5432",
            ),
            (
                Refusal::NobodyThere,
                "postgres://app@db.example/bank",
                true,
                "pg_isready -h db.example -p 5432",
            ),
            (
                Refusal::NobodyThere,
                "postgres:///bank?host=/run/postgresql&user=app",
                true,
                "sudo systemctl start postgresql",
            ),
            (
                Refusal::NobodyThere,
                "postgres:///bank?host=/run/postgresql&user=app",
                false,
                "pg_isready -h /run/postgresql",
            ),
            (Refusal::NoWay("timed out".to_owned()), local, false, "pg_isready -h 127.0.0.1"),
            (server("28P01"), local, false, "\\password app"),
            (server("28000"), local, false, "createuser app"),
            (server("3D000"), local, false, "createdb bank"),
            (server("53300"), local, false, "max_connections"),
            (server("57P03"), local, false, "strongroom doctor"),
            (server("XX000"), local, false, "strongroom config explain DATABASE_URL"),
        ];
        for (refusal, url, is_development, mend) in table {
            let finding = refused(&refusal, "DATABASE_URL", &target(url), is_development);
            let command = finding.mend.clone().unwrap_or_default();
            assert!(command.contains(mend), "{refusal:?}: {command}");
            assert!(!format!("{finding:?}").contains("hidden"), "{finding:?}");
        }
    }

    #[test]
    fn local_is_this_machine_only() {
        let table = [
            ("postgres://a@localhost/b", true, false),
            ("postgres://a@127.0.0.1/b", true, false),
            ("postgres:///b?host=/tmp", true, true),
            ("postgres://a@10.0.0.1/b", false, false),
        ];
        for (url, is_local, is_socket) in table {
            let target = target(url);
            assert_eq!((target.is_local, target.is_socket), (is_local, is_socket), "{url}");
        }
    }
}
