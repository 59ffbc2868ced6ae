//! TLS to PostgreSQL, against a server of the test's own with TLS on: who is believed, whom
//! the server believes, and that everything of ours goes over it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use cluster::{ClusterOptions, PrivateCluster};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tenancy::{Database, DatabaseConfig};
use testkit::connect;
use tokio::task::block_in_place;
use tokio_postgres::Client;

use crate::cli::strongroom;
use crate::serving::{free_port, serve, wait_for};

/// A root that both sides believe, and what it signs.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

struct Signed {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a root of a test");
        let pem = params.self_signed(&key).unwrap().pem();
        Self { params, key, pem }
    }

    fn sign(&self, name: &str, not_after_year: i32) -> Signed {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = date_time_ymd(not_after_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap().pem();
        Signed { certificate, key: key.serialize_pem() }
    }
}

struct Site {
    cluster: PrivateCluster,
    admin: Client,
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Site {
    /// A server that shows a certificate for `localhost`.
    async fn start() -> Self {
        let options = ClusterOptions::for_tests();
        let cluster = block_in_place(|| PrivateCluster::start(&options).unwrap());
        let admin = connect(&cluster.superuser_url()).await;
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let site = Self { cluster, admin, folder, authority };
        site.file("root.pem", &site.authority.pem);
        site.file("other.pem", &Authority::new().pem);
        site.show(&site.authority.sign("localhost", 2100)).await;
        site.set("ssl", "on").await;
        site
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Into the server's own folder, as its own account.
    async fn put(&self, name: &str, text: &str) {
        let path = self.cluster.data_directory().join(name);
        let lines = text.trim_end().replace('\'', "''");
        let sql = format!(
            "COPY (SELECT line FROM string_to_table('{lines}', E'\\n') line) \
             TO PROGRAM 'umask 077; cat > {}'",
            path.display()
        );
        self.admin.batch_execute(&sql).await.unwrap();
    }

    async fn show(&self, signed: &Signed) {
        self.put("server.crt", &signed.certificate).await;
        self.put("server.key", &signed.key).await;
        self.put("root.crt", &self.authority.pem).await;
        self.set("ssl_ca_file", "root.crt").await;
    }

    async fn set(&self, name: &str, value: &str) {
        self.admin.batch_execute(&format!("ALTER SYSTEM SET {name} = '{value}'")).await.unwrap();
        self.reload().await;
    }

    /// Until new connections see it.
    async fn reload(&self) {
        let loaded = "SELECT pg_conf_load_time()::text";
        let before: String = self.admin.query_one(loaded, &[]).await.unwrap().get(0);
        self.admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let now: String = self.admin.query_one(loaded, &[]).await.unwrap().get(0);
            if now != before {
                return;
            }
            assert!(Instant::now() < until, "the server does not reload");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn url(&self, host: &str, query: &str) -> String {
        let url = self.cluster.superuser_url().replace("127.0.0.1", host);
        let folder = self.folder.path().display().to_string();
        format!("{url}?{}", query.replace("{}", &folder))
    }

    /// Whether a connection of the pool is encrypted, or why there is none.
    async fn ask(&self, host: &str, query: &str) -> Result<bool, String> {
        let config = DatabaseConfig::new(self.url(host, query));
        let database = Database::new(&config).map_err(|error| error.to_string())?;
        database.ping().await.map_err(|error| error.to_string())?;
        let client = database.system_connection().await.map_err(|error| error.to_string())?;
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        Ok(client.query_one(sql, &[]).await.unwrap().get(0))
    }

    async fn expect(&self, table: &[(&str, &str, Result<bool, &str>)]) {
        for (host, query, expected) in table {
            let found = self.ask(host, query).await;
            match (&found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{host} {query}"),
                (Err(found), Err(words)) => {
                    assert!(found.contains(words), "{host} {query}: {found}");
                }
                _ => panic!("{host} {query}: {found:?} instead of {expected:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_believes_whom_it_says() {
    let site = Site::start().await;
    site.expect(&[
        ("localhost", "application_name=x", Ok(false)),
        ("localhost", "sslmode=disable", Ok(false)),
        ("127.0.0.1", "sslmode=require", Ok(true)),
        ("127.0.0.1", "sslmode=require&sslrootcert={}/root.pem", Ok(true)),
        ("127.0.0.1", "sslmode=require&sslrootcert={}/other.pem", Err("invalid peer certificate")),
        ("127.0.0.1", "sslmode=verify-ca&sslrootcert={}/root.pem", Ok(true)),
        (
            "127.0.0.1",
            "sslmode=verify-ca&sslrootcert={}/other.pem",
            Err("invalid peer certificate"),
        ),
        ("127.0.0.1", "sslmode=verify-ca", Err("invalid peer certificate")),
        ("localhost", "sslmode=verify-full&sslrootcert={}/root.pem", Ok(true)),
        ("127.0.0.1", "sslmode=verify-full&sslrootcert={}/root.pem", Err("not valid for name")),
        (
            "localhost",
            "sslmode=verify-full&sslrootcert={}/other.pem",
            Err("invalid peer certificate"),
        ),
        ("localhost", "sslmode=verify-full", Err("invalid peer certificate")),
        ("localhost", "sslmode=verify-full&sslrootcert={}/none.pem", Err("holds no certificates")),
        ("localhost", "sslmode=prefer", Err("has an sslmode other than")),
    ])
    .await;
    // Renewed on both sides: taken up without a restart, and one that is over is refused.
    site.show(&site.authority.sign("localhost", 2020)).await;
    site.expect(&[
        ("localhost", "sslmode=verify-full&sslrootcert={}/root.pem", Err("expired")),
        ("localhost", "sslmode=verify-ca&sslrootcert={}/root.pem", Err("expired")),
        ("localhost", "sslmode=require", Ok(true)),
    ])
    .await;
    site.set("ssl", "off").await;
    let refused = Err("server does not support TLS");
    site.expect(&[("localhost", "sslmode=require", refused)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_a_certificate_gets_ours() {
    let site = Site::start().await;
    let ours = site.authority.sign("postgres", 2100);
    let strangers = Authority::new().sign("postgres", 2100);
    site.file("ours.pem", &ours.certificate);
    site.file("ours.key", &ours.key);
    site.file("strangers.pem", &strangers.certificate);
    site.file("strangers.key", &strangers.key);
    // The harness itself comes over the socket.
    site.put("pg_hba.conf", "local all all scram-sha-256\nhostssl all all 127.0.0.1/32 cert").await;
    site.reload().await;
    let verified = "sslmode=verify-full&sslrootcert={}/root.pem";
    let with = |certificate: &str, key: &str| {
        format!("{verified}&sslcert={{}}/{certificate}&sslkey={{}}/{key}")
    };
    site.expect(&[
        ("localhost", &with("ours.pem", "ours.key"), Ok(true)),
        ("localhost", verified, Err("")),
        ("localhost", &with("strangers.pem", "strangers.key"), Err("")),
        (
            "localhost",
            &with("ours.pem", "strangers.key"),
            Err("holds no private key of the certificate"),
        ),
        ("localhost", &with("none.pem", "ours.key"), Err("holds no certificate")),
        ("localhost", "sslmode=disable", Err("")),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_server_goes_over_it() {
    let site = Site::start().await;
    let url = site.url("localhost", "sslmode=verify-full&sslrootcert={}/root.pem");
    let (port, metrics) = (free_port(), free_port());
    let mut child = serve(&url, &url, port, metrics, &["--migrate"])
        .env("DATABASE_OWNER_URL", &url)
        .spawn()
        .unwrap();
    wait_for(&mut child, port);
    let until = Instant::now() + Duration::from_secs(20);
    let sql = "SELECT count(*), count(*) FILTER (WHERE NOT ssl) FROM pg_stat_activity \
        JOIN pg_stat_ssl USING (pid) WHERE application_name LIKE 'strongroom%'";
    loop {
        let row = site.admin.query_one(sql, &[]).await.unwrap();
        let (all, plain): (i64, i64) = (row.get(0), row.get(1));
        assert_eq!(plain, 0);
        if all > 1 {
            break;
        }
        assert!(Instant::now() < until, "nothing connects");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let examined = strongroom(site.folder.path())
        .env("DATABASE_URL", &url)
        .env("ENCRYPTION_KEY", "7c1f0a5e93d24b86af2d41c09b7e63582e90d1c4b8f7a6350912cd48ef6b73a1")
        .args(["doctor", "--json"])
        .output()
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&examined.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let transport = checks.iter().find(|check| check["check"] == "database.transport").unwrap();
    assert_eq!(transport["verdict"], "ok", "{transport}");
    assert!(transport["found"].as_str().unwrap().starts_with("TLS to localhost"), "{transport}");
}
