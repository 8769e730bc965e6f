//! A fresh, empty Postgres database for one test, and a way to take it away and give it back.
//!
//! The server is started by `cargo xtask test` or `cargo xtask services`; a test that needs it fails without it,
//! because a quietly skipped half of the store is an untested half.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::proxy::Proxy;

/// A URL of a server on which databases may be created.
pub const SERVER_URL_VARIABLE: &str = "DYNOWATCH_TEST_POSTGRES_URL";

/// One database, dropped with everything in it (and every connection to it) when this is.
pub struct TestDatabase {
    url: String,
    server_url: String,
    name: String,
    proxy: Option<Proxy>,
    closed: bool,
}

impl TestDatabase {
    /// Makes an empty database.
    ///
    /// # Panics
    /// Without a server; says how to get one.
    pub async fn create() -> Self {
        let server_url = server_url();
        let name = unique_name();
        let statements = [
            // A process id comes round again; what an earlier run left behind goes.
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            // template0, because nobody can be connected to it, which would make this fail.
            format!("CREATE DATABASE {name} TEMPLATE template0"),
        ];
        execute(&server_url, &statements).await.unwrap_or_else(|error| {
            panic!("cannot create a test database on the server of {SERVER_URL_VARIABLE}={server_url}: {error}")
        });
        let url = with_database(&server_url, &name);
        Self { url, server_url, name, proxy: None, closed: false }
    }

    /// The same behind a [`Proxy`]: see [`Self::proxy`].
    ///
    /// # Panics
    /// Without a server; says how to get one.
    pub async fn proxied() -> Self {
        let mut database = Self::create().await;
        let authority = authority(&database.url).to_owned();
        let target = resolve(&authority).await;
        let proxy = Proxy::start(target).await;
        database.url = database.url.replacen(&authority, &proxy.address().to_string(), 1);
        database.proxy = Some(proxy);
        database
    }

    /// Where the database is; through the proxy if there is one.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The database behind the proxy's back: the truth while the program under test is cut off.
    #[must_use]
    pub fn direct_url(&self) -> String {
        with_database(&self.server_url, &self.name)
    }

    /// To cut, restore or stall the connection.
    ///
    /// # Panics
    /// When the database was not made by [`Self::proxied`].
    #[must_use]
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("a database made by TestDatabase::proxied()")
    }

    /// The store is away: connections drop, new ones are refused.
    pub async fn cut(&self) {
        self.proxy().cut().await;
    }

    /// The store is silent: connections stay, nothing passes.
    pub async fn stall(&self) {
        self.proxy().stall().await;
    }

    /// The store is back.
    pub async fn restore(&self) {
        self.proxy().restore().await;
    }

    /// The store is full: whatever is written finds no room, as on a disk without any. Reading works.
    ///
    /// # Panics
    /// When the database does not take it.
    pub async fn fill_up(&self) {
        let fill = "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$; \
                    DO $$ DECLARE name text; BEGIN \
                    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP \
                    EXECUTE format('CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON %I EXECUTE FUNCTION no_room()', name); \
                    END LOOP; END $$";
        execute(&self.direct_url(), &[fill.to_owned()]).await.expect("a database that fills up");
    }

    /// There is room again.
    ///
    /// # Panics
    /// When the database does not take it.
    pub async fn make_room(&self) {
        let statement = "DROP FUNCTION no_room() CASCADE".to_owned();
        execute(&self.direct_url(), &[statement]).await.expect("room in the database");
    }

    /// Takes a table away: from now on every statement on it is a fault.
    ///
    /// # Panics
    /// When it is not there.
    pub async fn drop_table(&self, table: &str) {
        let statement = format!("DROP TABLE {table} CASCADE");
        execute(&self.direct_url(), &[statement]).await.expect("a table that goes");
    }

    /// Locks tables against everyone, as work on them that hangs would, until what is returned is dropped.
    ///
    /// # Panics
    /// When one of them is not there.
    pub async fn lock_tables(&self, tables: &str) -> TableLock {
        let mut connection = PgConnection::connect(&self.direct_url()).await.expect("a connection");
        let statement = format!("BEGIN; LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE");
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.expect("locked tables");
        TableLock { _connection: connection }
    }

    /// Drops the database now, and tells if that fails, which `Drop` cannot.
    ///
    /// # Panics
    /// When the server does not drop it.
    pub async fn close(mut self) {
        self.closed = true;
        execute(&self.server_url, &[self.drop_statement()]).await.expect("the test database is dropped");
    }

    fn drop_statement(&self) -> String {
        format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)
    }
}

/// See [`TestDatabase::lock_tables`].
pub struct TableLock {
    _connection: PgConnection,
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        // A runtime of its own: the test's may be the one that is just ending.
        let (server_url, statement) = (self.server_url.clone(), self.drop_statement());
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(execute(&server_url, &[statement])).ok()
        });
        // Best effort: the whole server goes at the end of the run.
        let _dropped = dropping.join();
    }
}

fn server_url() -> String {
    std::env::var(SERVER_URL_VARIABLE).unwrap_or_else(|_| {
        panic!(
            "{SERVER_URL_VARIABLE} is not set. `cargo xtask test` runs all tests with a Postgres of its own; \
             `cargo xtask services` starts that Postgres and prints the variable, for testing one crate."
        )
    })
}

/// Different for every database of every process that uses the server at one time: tests run as processes (nextest)
/// or as threads (cargo test). The test's name, which is its thread's, helps whoever looks at the server.
fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut hasher = DefaultHasher::new();
    std::thread::current().name().hash(&mut hasher);
    std::env::current_exe().ok().hash(&mut hasher);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("dynowatch_{}_{count}_{:08x}", std::process::id(), hasher.finish() & 0xffff_ffff)
}

async fn execute(url: &str, statements: &[String]) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement.as_str())).execute(&mut connection).await?;
    }
    connection.close().await
}

/// `postgres://user:password@HOST:PORT/database?query`: the part in capitals.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// The URL with another database and the same query.
fn with_database(url: &str, database: &str) -> String {
    let authority_end = url.find("://").map_or(0, |at| at + 3);
    let (start, rest) = url.split_at(authority_end);
    let host = rest.split(['/', '?']).next().unwrap_or(rest);
    let query = rest.split_once('?').map_or(String::new(), |(_, query)| format!("?{query}"));
    format!("{start}{host}/{database}{query}")
}

async fn resolve(authority: &str) -> SocketAddr {
    let with_port = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:5432") };
    let mut addresses =
        tokio::net::lookup_host(&with_port).await.unwrap_or_else(|error| panic!("{with_port}: {error}"));
    addresses.next().unwrap_or_else(|| panic!("{with_port} has no address"))
}

#[cfg(test)]
mod tests {
    use super::{authority, unique_name, with_database};

    #[test]
    fn urls_are_taken_apart() {
        let url = "postgres://postgres@127.0.0.1:5433/postgres?sslmode=disable";
        assert_eq!(authority(url), "127.0.0.1:5433");
        assert_eq!(with_database(url, "other"), "postgres://postgres@127.0.0.1:5433/other?sslmode=disable");
        assert_eq!(with_database("postgres://h", "other"), "postgres://h/other");
        assert_eq!(authority("postgres://u:p@db.example/x"), "db.example");
    }

    #[test]
    fn no_two_databases_share_a_name() {
        assert_ne!(unique_name(), unique_name());
        assert!(unique_name().len() < 63, "Postgres cuts longer names");
    }
}
