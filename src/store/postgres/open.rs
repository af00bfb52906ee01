//! Connecting. A server or a schema that can't be used is refused by one sentence; a missing or older schema is created
//! or migrated.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, SqlSafeStr};

use super::error::StoreError;
use super::search_queue::{self, SearchQueue};
use super::{Inner, LOCKS, MIGRATING, PostgresAddress, Store};
use crate::domain::routing::Route;
use crate::store::Access;

/// The files of `migrations/postgres/`.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let migration = |version, description: &'static str, sql: &'static str| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        migration(1, "watch", include_str!("../../../migrations/postgres/0001_watch.sql")),
        migration(2, "prune", include_str!("../../../migrations/postgres/0002_prune.sql")),
    ])
});

/// The oldest version that the statements are tried on.
const OLDEST_SERVER: i32 = 140_000;

/// How long connecting may take, TLS and password included.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How long a statement's connection is waited for.
const ACQUIRE_PATIENCE: Duration = Duration::from_secs(5);

/// Connections of a daemon for claims, and for people. With those for searches and signs of life, and the two of its
/// session, it has at most ten.
const READERS: u32 = 2;
const PEOPLE: u32 = 3;

/// What every connection is set to. A peer that is gone is noticed by the server within seconds, and so is one that has
/// stopped in the middle of a transaction, which others wait for.
const SETTINGS: &str = "SET client_min_messages = warning; SET timezone = 'UTC'; SET jit = off;
    SET synchronous_commit = on; SET default_transaction_isolation = 'read committed';
    SET idle_in_transaction_session_timeout = '10s'; SET lock_timeout = '60s';
    SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;
    SET tcp_user_timeout = 10000";

/// Set-based statements look rows up by key, whatever a table's statistics say of its size when it was small.
pub(super) const BY_KEY: &str =
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off";

impl Store {
    /// Opens the database for a command, creating or migrating it as needed. New events go to `routes`.
    pub async fn open(address: &PostgresAddress, routes: Vec<Route>) -> Result<Self, StoreError> {
        let store = Self::new(address, routes)?;
        let mut connection = store.connect().await?;
        store.prepare(&mut connection).await?;
        // It has done its work.
        let _ = connection.close().await;
        Ok(store)
    }

    /// Opens a database that is there, for a command. Nothing is created or migrated, and a standby is enough for
    /// reading.
    pub async fn open_existing(
        address: &PostgresAddress,
        routes: Vec<Route>,
        access: Access,
    ) -> Result<Self, StoreError> {
        let store = Self::new(address, routes)?;
        let mut connection = store.connect().await?;
        let refused = |rule: String| Err(StoreError::Server { address: address.to_string(), rule });
        match access {
            Access::Change => store.require_server(&mut connection).await?,
            Access::Read | Access::Inspect => store.require_version(&mut connection).await?,
        }
        match store.schema_of(&mut connection).await? {
            Schema::Missing => {
                return refused(
                    "it holds nothing yet: check database.url; `pcsid-watch run`, `add` and `import` create the tables"
                        .to_owned(),
                );
            }
            Schema::Older if access != Access::Inspect => {
                return refused(
                    "it is of an older version: `pcsid-watch run` migrates it at its start".to_owned(),
                );
            }
            Schema::Older | Schema::Current => {}
        }
        if access == Access::Change {
            store.require_rights(&mut connection).await?;
        }
        // It has done its work.
        let _ = connection.close().await;
        Ok(store)
    }

    /// The database for a daemon, which is checked when the daemon joins.
    pub fn new(address: &PostgresAddress, routes: Vec<Route>) -> Result<Self, StoreError> {
        let options = address.options()?;
        let inner = Inner {
            readers: pool(options.clone(), READERS, true),
            people: pool(options.clone(), PEOPLE, false),
            searches: pool(options.clone(), search_queue::N_RUNNING, false),
            search_queue: SearchQueue::default(),
            vitals: pool(options, 1, false),
            address: address.clone(),
            routes: routes.into(),
            is_new: AtomicBool::new(false),
        };
        Ok(Self { inner: inner.into(), session: None })
    }

    /// A connection of its own, with the password as its file holds it now.
    pub(super) async fn connect(&self) -> Result<PgConnection, StoreError> {
        let options = self.address().options()?;
        let Inner { readers, people, searches, vitals, .. } = &*self.inner;
        for pool in [readers, people, searches, vitals] {
            pool.set_connect_options(options.clone());
        }
        let failed = |source| StoreError::Connect { address: self.address().to_string(), source };
        let connecting = async {
            let mut connection = options.connect().await?;
            sqlx::raw_sql(SETTINGS).execute(&mut connection).await?;
            Ok(connection)
        };
        match tokio::time::timeout(CONNECT_PATIENCE, connecting).await {
            Ok(connected) => connected.map_err(failed),
            Err(_) => {
                let late = std::io::Error::new(
                    std::io::ErrorKind::TimedOut,
                    format!("no answer within {} s", CONNECT_PATIENCE.as_secs()),
                );
                Err(failed(sqlx::Error::Io(late)))
            }
        }
    }

    /// One connection that listens, with those settings.
    pub(super) fn control_pool(&self) -> Result<PgPool, StoreError> {
        Ok(pool(self.address().options()?, 1, false))
    }

    /// Makes sure that the server can do what is asked of it and that the schema is ours and the newest.
    pub(super) async fn prepare(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        self.require_server(connection).await?;
        if let Schema::Current = self.schema_of(connection).await? {
            return self.require_rights(connection).await;
        }
        // One process migrates at a time; the next one finds it done. The connection's end releases the lock, however
        // it ends.
        let locking = StoreError::query("waiting for another process's migration");
        sqlx::query("SELECT pg_advisory_lock($1, $2)")
            .bind(LOCKS)
            .bind(MIGRATING)
            .execute(&mut *connection)
            .await
            .map_err(locking)?;
        let migrated = self.migrate(connection).await;
        let unlocking = StoreError::query("ending a migration");
        sqlx::query("SELECT pg_advisory_unlock($1, $2)")
            .bind(LOCKS)
            .bind(MIGRATING)
            .execute(&mut *connection)
            .await
            .map_err(unlocking)?;
        migrated?;
        self.require_rights(connection).await
    }

    /// Whether a daemon is connected to the database. If that can't be found out, the answer is yes.
    pub async fn is_served(address: &PostgresAddress) -> bool {
        let asking = async {
            let mut connection = Self::new(address, Vec::new())?.connect().await?;
            // Another role's sessions are seen without their beginning.
            let is_served = sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM replicas r JOIN pg_stat_activity a ON a.pid = r.backend_pid
                                  AND coalesce(a.backend_start = r.backend_start, true))",
            )
            .fetch_one(&mut connection)
            .await
            .map_err(StoreError::query("asking for daemons"));
            // It has done its work.
            let _ = connection.close().await;
            is_served
        };
        asking.await.unwrap_or(true)
    }

    /// Connects as a daemon does, and says what is there. Nothing is created.
    pub async fn reach(&self) -> Result<&'static str, StoreError> {
        let mut connection = self.connect().await?;
        self.require_server(&mut connection).await?;
        let found = match self.schema_of(&mut connection).await? {
            Schema::Missing => "reached, an empty database that the first start fills",
            Schema::Older => "reached, a database of an older version that the next start brings up to date",
            Schema::Current => {
                self.require_rights(&mut connection).await?;
                "reached, a database of this version"
            }
        };
        // It has done its work.
        let _ = connection.close().await;
        Ok(found)
    }

    async fn migrate(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let is_missing = match self.schema_of(connection).await? {
            Schema::Current => return Ok(()),
            Schema::Older => false,
            Schema::Missing => true,
        };
        let (may_create, schema): (bool, Option<String>) = sqlx::query_as(
            "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), current_schema()::text",
        )
        .fetch_one(&mut *connection)
        .await
        .map_err(StoreError::query("reading rights"))?;
        if !may_create {
            let schema = identifier(schema.as_deref().unwrap_or("public"));
            let user = identifier(&self.address().user());
            return Err(StoreError::Rights {
                address: self.address().to_string(),
                grant: format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {user}"),
            });
        }
        MIGRATIONS.run_direct(None, connection, false).await.map_err(|source| StoreError::Migrate {
            database: self.address().to_string(),
            source: Box::new(source),
        })?;
        self.inner.is_new.store(is_missing, Ordering::Relaxed);
        Ok(())
    }

    /// A pooler in transaction mode is recognised by statements that were prepared in another backend, and by what
    /// [`Store::require_own_backend`] checks.
    async fn require_server(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let is_foreign = |err: &sqlx::Error| {
            let code = err.as_database_error().and_then(|err| err.code());
            code.is_some_and(|code| code == "42P05" || code == "26000")
        };
        match self.require_usable_server(connection).await {
            Err(StoreError::Query { source, .. }) if is_foreign(&source) => Err(self.pooled()),
            other => other,
        }
    }

    fn pooled(&self) -> StoreError {
        StoreError::Server {
            address: self.address().to_string(),
            rule: "it is a pooler in transaction mode, or one that keeps no locks: connect to PostgreSQL itself, or to a \
                   pooler in session mode"
                .to_owned(),
        }
    }

    /// Makes sure that it is PostgreSQL, and new enough.
    async fn require_version(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let (product, version): (String, i32) =
            sqlx::query_as("SELECT version(), current_setting('server_version_num')::int")
                .fetch_one(&mut *connection)
                .await
                .map_err(StoreError::query("asking the server for its version"))?;
        if !product.starts_with("PostgreSQL") {
            let product = product.split_whitespace().next().unwrap_or_default();
            return self.refuse(format!(
                "it is {product}, whose advisory locks do not exclude others: PostgreSQL is needed"
            ));
        }
        if version < OLDEST_SERVER {
            return self
                .refuse(format!("it is PostgreSQL {}: version 14 or newer is needed", version / 10_000));
        }
        Ok(())
    }

    async fn require_usable_server(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        self.require_version(connection).await?;
        let (is_standby, fsync): (bool, String) =
            sqlx::query_as("SELECT pg_is_in_recovery(), coalesce(current_setting('fsync', true), 'on')")
                .fetch_one(&mut *connection)
                .await
                .map_err(StoreError::query("asking the server for its settings"))?;
        if is_standby {
            return self.refuse("it is a standby, which takes no writes: name the primary");
        }
        if fsync == "off" {
            return self.refuse("it runs with fsync = off, and a power cut would lose answers: turn it on");
        }
        self.require_own_backend(connection).await
    }

    fn refuse(&self, rule: impl Into<String>) -> Result<(), StoreError> {
        Err(StoreError::Server { address: self.address().to_string(), rule: rule.into() })
    }

    /// A pooler in transaction mode gives a connection another backend for each transaction: locks would be lost, and
    /// two daemons would do the same work. It is recognised by two open connections that have the same backend, or by a
    /// lock that was taken and is not there.
    async fn require_own_backend(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let failed = StoreError::query;
        let asking = "asking the server for its backend";
        let mine: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut *connection)
            .await
            .map_err(failed(asking))?;
        let mut other = self.connect().await?;
        let theirs: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut other)
            .await
            .map_err(failed(asking))?;
        let still_mine: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut *connection)
            .await
            .map_err(failed(asking))?;
        let _ = other.close().await;
        let probe = -2;
        let n_locks: i64 = {
            sqlx::query("SELECT pg_advisory_lock_shared($1, $2)")
                .bind(LOCKS)
                .bind(probe)
                .execute(&mut *connection)
                .await
                .map_err(failed("trying a lock"))?;
            let n_locks = sqlx::query_scalar(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = $1
                   AND classid = $2::bigint::oid AND objsubid = 2",
            )
            .bind(mine)
            .bind(i64::from(LOCKS))
            .fetch_one(&mut *connection)
            .await
            .map_err(failed("trying a lock"))?;
            sqlx::query("SELECT pg_advisory_unlock_shared($1, $2)")
                .bind(LOCKS)
                .bind(probe)
                .execute(&mut *connection)
                .await
                .map_err(failed("trying a lock"))?;
            n_locks
        };
        if mine == theirs || mine != still_mine || n_locks == 0 {
            return Err(self.pooled());
        }
        Ok(())
    }

    async fn schema_of(&self, connection: &mut PgConnection) -> Result<Schema, StoreError> {
        let address = || self.address().to_string();
        let (is_ours, n_tables): (bool, i64) = sqlx::query_as(
            "SELECT to_regclass('pcsid_watch') IS NOT NULL AND to_regclass('_sqlx_migrations') IS NOT NULL,
                    (SELECT count(*) FROM pg_class c
                     WHERE c.relkind IN ('r', 'p') AND c.relnamespace = to_regnamespace(current_schema()::text)
                       AND c.relname <> '_sqlx_migrations'
                       AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e'))",
        )
        .fetch_one(&mut *connection)
        .await
        .map_err(StoreError::query("reading the schema"))?;
        match (is_ours, n_tables) {
            (false, 0) => return Ok(Schema::Missing),
            (false, _) => {
                return Err(StoreError::Server {
                    address: address(),
                    rule: "it holds tables of another program: name an empty database".to_owned(),
                });
            }
            (true, _) => {}
        }
        let found: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
            .fetch_one(connection)
            .await
            .map_err(|source| self.rights_or("reading the schema's version", source))?;
        let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
        match found {
            _ if found > known => Err(StoreError::NewerSchema { address: address(), found, known }),
            _ if found < known => Ok(Schema::Older),
            _ => Ok(Schema::Current),
        }
    }

    /// Tables of another role can't be used without its grant.
    async fn require_rights(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let (may, schema): (bool, Option<String>) = sqlx::query_as(
            "SELECT coalesce(bool_and(has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
                                      AND has_table_privilege(c.oid, 'UPDATE')
                                      AND has_table_privilege(c.oid, 'DELETE')), true),
                    current_schema()::text
             FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = to_regnamespace(current_schema()::text)",
        )
        .fetch_one(connection)
        .await
        .map_err(StoreError::query("reading rights"))?;
        match may {
            true => Ok(()),
            false => Err(self.missing_rights(schema.as_deref().unwrap_or("public"))),
        }
    }

    fn missing_rights(&self, schema: &str) -> StoreError {
        let (schema, user) = (identifier(schema), identifier(&self.address().user()));
        StoreError::Rights {
            address: self.address().to_string(),
            grant: format!(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {user}; \
                 GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {user}"
            ),
        }
    }

    fn rights_or(&self, operation: &'static str, source: sqlx::Error) -> StoreError {
        let is_denied =
            source.as_database_error().and_then(|err| err.code()).is_some_and(|code| code == "42501");
        if is_denied { self.missing_rights("public") } else { StoreError::Query { operation, source } }
    }
}

/// A name as SQL takes it.
fn identifier(name: &str) -> String {
    let is_plain =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    match is_plain && !name.starts_with(|c: char| c.is_ascii_digit()) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

enum Schema {
    Missing,
    Older,
    Current,
}

fn pool(options: PgConnectOptions, n_most: u32, is_by_key: bool) -> PgPool {
    PgPoolOptions::new()
        .min_connections(0)
        .max_connections(n_most)
        .acquire_timeout(ACQUIRE_PATIENCE)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(SETTINGS).execute(&mut *connection).await?;
                if is_by_key {
                    sqlx::raw_sql(BY_KEY).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .connect_lazy_with(options)
}

#[cfg(test)]
mod tests {
    use super::{MIGRATIONS, identifier};

    #[test]
    fn every_file_of_migrations_is_one_that_is_run() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres");
        let names =
            std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<String> = names.filter(|name| name.ends_with(".sql")).collect();
        files.sort();
        let named = MIGRATIONS.iter().map(|one| format!("{:04}_{}.sql", one.version, one.description));
        assert_eq!(files, named.collect::<Vec<_>>());
    }

    #[test]
    fn names_are_quoted_where_sql_needs_it() {
        for (name, expected) in [
            ("pcsid_watch", "pcsid_watch"),
            ("pcsid-app", "\"pcsid-app\""),
            ("App", "\"App\""),
            ("1st", "\"1st\""),
            ("a\"b", "\"a\"\"b\""),
        ] {
            assert_eq!(identifier(name), expected);
        }
    }
}
