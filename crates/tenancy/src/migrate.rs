//! Owns the schema's timeline: which migrations there are, applying and taking
//! them back, each in its own transaction, and proving that what was applied is
//! what this binary holds.
//!
//! It refuses to know what a migration means, and never asks whether a human
//! agrees: that is the command line's business. Its own statements stand here
//! rather than in `queries/`: they run before any schema exists.
//!
//! Runners serialise on a session-level advisory lock (this is the one place
//! that takes one: migrations connect directly, never through `PgBouncer`).

mod book;
mod error;
mod files;
mod roles;

use tokio_postgres::Client;

pub use book::{AppliedMigration, Direction, HistoryEntry};
pub use error::MigrateError;
pub use files::{Migration, new};
pub use roles::{ROLES, ensure_roles, roles_sql};

/// Default bound on waiting for a table's lock: a migration that cannot have it
/// gives up rather than queue every request behind itself.
pub const LOCK_TIMEOUT_MS: u32 = 5_000;

/// What the database holds, compared with this binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Number of the migration.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// Whether it is applied.
    pub state: MigrationState,
}

/// Where one migration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MigrationState {
    /// Known here, not yet applied.
    Pending,
    /// Known here and applied.
    Applied(AppliedMigration),
    /// Applied by a newer binary, which declared that this one still works.
    Newer(AppliedMigration),
}

/// Runs migrations over a connection that is, or may become, `strongroom_owner`.
#[derive(Debug, Clone)]
pub struct Migrator {
    migrations: Vec<Migration>,
    lock_timeout_ms: u32,
}

impl Migrator {
    /// The migrations compiled into this binary.
    pub fn embedded() -> Self {
        Self::with(files::embedded())
    }

    /// Any list, for tests and tools. Sorted by version.
    pub fn with(mut migrations: Vec<Migration>) -> Self {
        migrations.sort_by_key(|migration| migration.version);
        Self { migrations, lock_timeout_ms: LOCK_TIMEOUT_MS }
    }

    /// Sets how long a migration waits for a table's lock, in milliseconds.
    #[must_use]
    pub fn lock_timeout_ms(mut self, lock_timeout_ms: u32) -> Self {
        self.lock_timeout_ms = lock_timeout_ms;
        self
    }

    /// The migrations it knows, oldest first.
    pub fn migrations(&self) -> &[Migration] {
        &self.migrations
    }

    /// Number of the newest migration it knows: this binary's schema version;
    /// 0 where there is none.
    pub fn schema_version(&self) -> u32 {
        self.migrations.last().map_or(0, |migration| migration.version)
    }

    /// SHA-256 over all migrations in hexadecimal: names a template database.
    pub fn fingerprint(&self) -> String {
        files::fingerprint(&self.migrations)
    }

    /// Applies what is pending, up to and including `target` (all where `None`).
    /// Returns what was applied, oldest first; an empty list where nothing was
    /// pending.
    ///
    /// # Errors
    /// [`MigrateError`]; migrations before the failing one stay applied.
    pub async fn up(
        &self,
        client: &mut Client,
        target: Option<u32>,
    ) -> Result<Vec<AppliedMigration>, MigrateError> {
        let restore = book::enter(client).await?;
        let result = self.up_locked(client, target).await;
        let left = book::leave(client, restore).await;
        // Where both failed, the connection is gone and the first failure says why.
        result.and_then(|done| left.map(|()| done))
    }

    /// Takes the newest `count` migrations back, newest first.
    ///
    /// # Errors
    /// [`MigrateError`]; [`MigrateError::NotInBinary`] where one of them is only
    /// known to a newer binary.
    pub async fn down(
        &self,
        client: &mut Client,
        count: u32,
    ) -> Result<Vec<AppliedMigration>, MigrateError> {
        let restore = book::enter(client).await?;
        let result = self.down_locked(client, count).await;
        let left = book::leave(client, restore).await;
        // Where both failed, the connection is gone and the first failure says why.
        result.and_then(|done| left.map(|()| done))
    }

    /// Every migration that this binary or the database knows, oldest first.
    ///
    /// # Errors
    /// [`MigrateError::Database`].
    pub async fn status(&self, client: &Client) -> Result<Vec<MigrationStatus>, MigrateError> {
        let applied = book::applied(client).await?;
        let newer = applied.iter().filter(|row| self.find(row.version).is_none()).map(|row| {
            let state = MigrationState::Newer(row.clone());
            MigrationStatus { version: row.version, name: row.name.clone(), state }
        });
        let known = self.migrations.iter().map(|migration| {
            let row = applied.iter().find(|row| row.version == migration.version);
            let state =
                row.map_or(MigrationState::Pending, |row| MigrationState::Applied(row.clone()));
            MigrationStatus { version: migration.version, name: migration.name.clone(), state }
        });
        let mut all: Vec<_> = known.chain(newer).collect();
        all.sort_by_key(|status| status.version);
        Ok(all)
    }

    /// Everything ever applied or taken back, oldest first.
    ///
    /// # Errors
    /// [`MigrateError::Database`].
    pub async fn history(&self, client: &Client) -> Result<Vec<HistoryEntry>, MigrateError> {
        book::history(client).await
    }

    /// Checks that the database's history is this binary's; returns the current
    /// version (0 for an empty database) and how many migrations are pending.
    ///
    /// # Errors
    /// [`MigrateError::Tampered`], [`MigrateError::Gap`],
    /// [`MigrateError::Unknown`], [`MigrateError::TooNew`] or a database error.
    pub async fn verify(&self, client: &Client) -> Result<Verified, MigrateError> {
        let applied = book::applied(client).await?;
        self.check(&applied)?;
        let current_version = applied.last().map_or(0, |row| row.version);
        let pending = self.migrations.iter().filter(|one| one.version > current_version).count();
        Ok(Verified { current_version, pending })
    }

    async fn up_locked(
        &self,
        client: &mut Client,
        target: Option<u32>,
    ) -> Result<Vec<AppliedMigration>, MigrateError> {
        let applied = book::applied(client).await?;
        self.check(&applied)?;
        let current = applied.last().map_or(0, |row| row.version);
        let target = target.unwrap_or(u32::MAX);
        let mut done = Vec::new();
        for migration in
            self.migrations.iter().filter(|one| one.version > current && one.version <= target)
        {
            done.push(book::apply(client, migration, self.lock_timeout_ms).await?);
        }
        Ok(done)
    }

    async fn down_locked(
        &self,
        client: &mut Client,
        count: u32,
    ) -> Result<Vec<AppliedMigration>, MigrateError> {
        let applied = book::applied(client).await?;
        self.check(&applied)?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let steps = applied
            .into_iter()
            .rev()
            .take(count)
            .map(|row| match self.find(row.version) {
                Some(migration) => Ok((migration, row)),
                None => Err(MigrateError::NotInBinary { version: row.version, name: row.name }),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut done = Vec::with_capacity(steps.len());
        for (migration, row) in steps {
            book::take_back(client, migration, self.lock_timeout_ms).await?;
            done.push(row);
        }
        Ok(done)
    }

    /// Precedence: tampered or unknown rows in order of version, then gaps.
    fn check(&self, applied: &[AppliedMigration]) -> Result<(), MigrateError> {
        let schema_version = self.schema_version();
        for row in applied {
            match self.find(row.version) {
                Some(migration) => migration.check(row)?,
                None if row.version < schema_version => {
                    return Err(MigrateError::Unknown {
                        version: row.version,
                        name: row.name.clone(),
                    });
                }
                None if row.min_binary > schema_version => {
                    return Err(MigrateError::TooNew {
                        version: row.version,
                        name: row.name.clone(),
                        min_binary: row.min_binary,
                        schema_version,
                    });
                }
                None => {}
            }
        }
        let current = applied.last().map_or(0, |row| row.version);
        let missing = self
            .migrations
            .iter()
            .filter(|one| one.version < current)
            .find(|one| !applied.iter().any(|row| row.version == one.version));
        missing.map_or(Ok(()), |one| {
            Err(MigrateError::Gap { version: one.version, name: one.name.clone(), current })
        })
    }

    fn find(&self, version: u32) -> Option<&Migration> {
        self.migrations.iter().find(|migration| migration.version == version)
    }
}

/// A history that was found in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Newest applied migration; 0 for an empty database.
    pub current_version: u32,
    /// Migrations of this binary that are not applied yet.
    pub pending: usize,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::{AppliedMigration, MigrateError, Migration, Migrator};

    fn row(migration: &Migration) -> AppliedMigration {
        AppliedMigration {
            version: migration.version,
            name: migration.name.clone(),
            checksum_up: migration.checksum_up(),
            checksum_down: migration.checksum_down(),
            min_binary: migration.min_binary,
            applied_at: jiff::Timestamp::UNIX_EPOCH,
            applied_by: "somebody".to_owned(),
            execution_time_ms: 1,
        }
    }

    fn timeline() -> Vec<Migration> {
        vec![
            Migration::new(1, "one", "create", "drop"),
            Migration::new(2, "two", "create more", "drop more"),
            Migration::new(3, "three", "-- min_binary: 2\nadd", "remove"),
        ]
    }

    #[test]
    fn the_oldest_binary_is_read_from_the_script_or_is_its_own() {
        let all = timeline();
        assert_eq!(all.iter().map(|one| one.min_binary).collect::<Vec<_>>(), [1, 2, 2]);
    }

    #[test]
    fn histories_are_judged() {
        let all = timeline();
        let rows: Vec<_> = all.iter().map(row).collect();
        let tampered = AppliedMigration { checksum_down: "00".repeat(32), ..rows[1].clone() };
        let renamed = AppliedMigration { name: "other".to_owned(), ..rows[0].clone() };
        let (two, three) = (Migrator::with(all[..2].to_vec()), Migrator::with(all.clone()));
        let one = Migrator::with(all[..1].to_vec());
        let without_second = Migrator::with(vec![all[0].clone(), all[2].clone()]);

        assert!(three.check(&[]).is_ok());
        assert!(three.check(&rows).is_ok());
        assert!(three.check(&rows[..1]).is_ok());
        assert!(two.check(&rows).is_ok(), "the third declared that a binary of two still works");
        let judged =
            |migrator: &Migrator, rows: &[AppliedMigration]| migrator.check(rows).unwrap_err();
        assert!(matches!(judged(&one, &rows), MigrateError::TooNew { version: 2, .. }));
        assert!(matches!(
            judged(&three, &[rows[0].clone(), tampered]),
            MigrateError::Tampered { version: 2, .. }
        ));
        assert!(matches!(judged(&three, &[renamed]), MigrateError::Tampered { version: 1, .. }));
        assert!(matches!(
            judged(&three, &[rows[0].clone(), rows[2].clone()]),
            MigrateError::Gap { version: 2, current: 3, .. }
        ));
        assert!(matches!(judged(&without_second, &rows), MigrateError::Unknown { version: 2, .. }));
    }
}
