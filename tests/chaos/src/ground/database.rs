//! PostgreSQL: a primary and a synchronous standby, each in a network of its own; the primary has the address
//! that everybody uses.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cumulet_tests::lab::program::{command, run};
use cumulet_tests::lab::{Daemon, Lab, Machine, Network, Spec};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::time::{Instant, sleep, timeout};

use super::network::{self, Cut, PRIMARY, address};
use crate::plan::Way;

pub const PORT: u16 = 5432;
/// Longer than a start takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const USER: &str = "postgres";

/// Clients and standbys that are gone are noticed soon, as one sets it up where a standby takes over.
const SETTINGS: &str = "\nlisten_addresses = '*'\nmax_connections = 200\nfsync = off\nfull_page_writes = off\n\
     wal_sender_timeout = 4s\nwal_receiver_timeout = 4s\nwal_retrieve_retry_interval = 500ms\n\
     tcp_keepalives_idle = 2\ntcp_keepalives_interval = 1\ntcp_keepalives_count = 3\ntcp_user_timeout = 4s\n\
     wal_keep_size = 256MB\nlog_line_prefix = '%m [%p] %r '\n";
const ACCESS: &str =
    "local all all trust\nhost all all 10.77.0.0/24 trust\nhost replication all 10.77.0.0/24 trust\n";

struct Server {
    name: &'static str,
    address: Ipv4Addr,
    network: Network,
    machine: Machine,
    dir: PathBuf,
    daemon: Option<Daemon>,
}

/// The pair, and which of it is the primary.
pub struct Database {
    servers: [Server; 2],
    primary: usize,
    networks: Vec<Network>,
}

impl Database {
    pub async fn start(lab: &Lab, networks: [Network; 2]) -> Result<Self> {
        let [one, other] = networks;
        let servers = [Server::lay_out(lab, "pg-a", 21, one)?, Server::lay_out(lab, "pg-b", 22, other)?];
        let mut database = Database { servers, primary: 0, networks: Vec::new() };
        database.servers[0].init()?;
        database.servers[0].start().await?;
        Ok(database)
    }

    /// The address comes to the primary, the standby to life, and everybody in `networks` may call.
    pub async fn furnish(&mut self, networks: Vec<Network>) -> Result<()> {
        self.networks = networks;
        network::move_address(PRIMARY, &self.servers[0].network, &self.networks)?;
        for statement in
            ["CREATE ROLE cumulet SUPERUSER LOGIN", "CREATE DATABASE cumulet", "CREATE DATABASE probe"]
        {
            self.servers[0].tell(statement).await?;
        }
        self.servers[0].tell_in("probe", "CREATE TABLE beat (n BIGINT); INSERT INTO beat VALUES (0)").await?;
        self.make_standby().await
    }

    pub fn url() -> String {
        format!("postgres://cumulet@{PRIMARY}:{PORT}/cumulet")
    }

    pub fn addresses() -> Vec<Ipv4Addr> {
        vec![PRIMARY, address(21), address(22)]
    }

    /// Ends the primary as an order or a crash does.
    pub async fn stop(&mut self, crash: bool) -> Result<()> {
        self.servers[self.primary].stop(crash).await
    }

    pub async fn resume(&mut self) -> Result<()> {
        self.servers[self.primary].start().await
    }

    /// The standby takes the primary's place and address; whoever was the primary is dead, and stays so.
    pub async fn fail_over(&mut self) -> Result<()> {
        // Power is cut: nobody hears a last word of it, now or later.
        let dead = &mut self.servers[self.primary];
        dead.network.ip(["link", "set", "eth0", "down"])?;
        dead.stop(true).await?;
        network::silence(&dead.network, PRIMARY)?;
        dead.network.ip(["link", "set", "eth0", "up"])?;
        let next = &self.servers[1 - self.primary];
        next.tell("SELECT pg_promote(true, 60)").await.context("the standby is not promoted")?;
        next.tell("ALTER SYSTEM RESET synchronous_standby_names").await?;
        next.tell("SELECT pg_reload_conf()").await?;
        network::move_address(PRIMARY, &next.network, &self.networks)?;
        self.primary = 1 - self.primary;
        Ok(())
    }

    /// A new standby, from nothing, for which the primary waits from then on.
    pub async fn make_standby(&mut self) -> Result<()> {
        let (primary, other) = (self.primary, 1 - self.primary);
        let from = self.servers[primary].address;
        self.servers[other].copy(from)?;
        self.servers[other].start().await?;
        let primary = &self.servers[primary];
        primary.tell("ALTER SYSTEM SET synchronous_standby_names = 'standby'").await?;
        primary.tell("SELECT pg_reload_conf()").await?;
        let began = Instant::now();
        while primary.number("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'").await? == 0
        {
            if began.elapsed() > PATIENCE {
                bail!("the standby does not follow: {}", self.servers[other].last_words());
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Parts the primary from its standby.
    pub fn part(&self, number: usize) -> Result<Cut> {
        let [primary, standby] = [self.primary, 1 - self.primary].map(|at| &self.servers[at]);
        network::cut(&primary.network, number, &[standby.address], Way::Both)
    }

    pub fn standby_at(&self) -> std::net::SocketAddr {
        network::at(self.servers[1 - self.primary].address, PORT)
    }
}

/// A connection to the primary, as everybody makes it.
pub async fn connect(database: &str) -> Result<PgConnection> {
    connect_to(PRIMARY, database).await
}

async fn connect_to(address: Ipv4Addr, database: &str) -> Result<PgConnection> {
    let url = format!("postgres://postgres@{address}:{PORT}/{database}");
    let connected = timeout(Duration::from_secs(2), PgConnection::connect(&url)).await;
    Ok(connected.context("the database does not answer")??)
}

/// Whether a write is committed now.
pub async fn takes_writes() -> bool {
    let write = async {
        let mut connection = connect("probe").await?;
        connection.execute("UPDATE beat SET n = n + 1").await?;
        anyhow::Ok(())
    };
    matches!(timeout(Duration::from_secs(1), write).await, Ok(Ok(())))
}

impl Server {
    fn lay_out(lab: &Lab, name: &'static str, last: u8, network: Network) -> Result<Self> {
        let spec = Spec { name: name.into(), network: Some(network.clone()), ..Spec::default() };
        let dir = lab.make_dir(name)?;
        let user = User::from_name(USER)?.context("there is no user postgres: install postgresql")?;
        chown(&dir, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        let machine = lab.machine(spec)?;
        Ok(Server { name, address: address(last), network, machine, dir, daemon: None })
    }

    fn init(&self) -> Result<()> {
        let args = ["-D", &self.data(), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
        run("setpriv", as_postgres(&program("initdb")?, args))?;
        let config = self.dir.join("data/postgresql.conf");
        let text = fs::read_to_string(&config)?;
        fs::write(&config, text + SETTINGS)?;
        Ok(fs::write(self.dir.join("data/pg_hba.conf"), ACCESS)?)
    }

    /// Its files become those of the server at `from`, as a standby of it.
    fn copy(&self, from: Ipv4Addr) -> Result<()> {
        let _never_was = fs::remove_dir_all(self.dir.join("data"));
        let from = format!("host={from} port={PORT} user={USER} application_name=standby");
        let args = ["-D", &self.data(), "-d", &from, "-R", "-X", "stream", "-c", "fast", "--no-sync"];
        run("setpriv", as_postgres(&program("pg_basebackup")?, args)).map(drop)
    }

    async fn start(&mut self) -> Result<()> {
        let sockets = self.dir.to_string_lossy().into_owned();
        let args = as_postgres(&program("postgres")?, ["-D", &self.data(), "-k", &sockets]);
        let mut daemon = self.machine.daemon("server", command("setpriv", args))?;
        let began = Instant::now();
        while self.tell("SELECT 1").await.is_err() {
            daemon.must_live()?;
            if began.elapsed() > PATIENCE {
                bail!("{} does not start: {}", self.name, daemon.last_words(20));
            }
            sleep(Duration::from_millis(50)).await;
        }
        self.daemon = Some(daemon);
        Ok(())
    }

    /// A crash is that of the machine: nothing of it goes on for a moment.
    async fn stop(&mut self, crash: bool) -> Result<()> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        if crash {
            for pid in self.machine.processes()? {
                let _gone_meanwhile = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        } else {
            daemon.signal(Signal::SIGINT)?;
        }
        daemon.wait(PATIENCE).await?;
        let _only_after_a_crash = fs::remove_file(self.dir.join("data/postmaster.pid"));
        Ok(())
    }

    async fn tell(&self, statement: &str) -> Result<()> {
        self.tell_in("postgres", statement).await
    }

    async fn tell_in(&self, database: &str, statement: &str) -> Result<()> {
        let mut connection = connect_to(self.address, database).await?;
        let told = connection.execute(sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))).await;
        told.with_context(|| format!("{}: {statement}", self.name)).map(drop)
    }

    async fn number(&self, statement: &str) -> Result<i64> {
        let mut connection = connect_to(self.address, "postgres").await?;
        let found: (i64,) =
            sqlx::query_as(AssertSqlSafe(statement.to_owned())).fetch_one(&mut connection).await?;
        Ok(found.0)
    }

    fn data(&self) -> String {
        self.dir.join("data").to_string_lossy().into_owned()
    }

    fn last_words(&self) -> String {
        self.daemon.as_ref().map(|daemon| daemon.last_words(20)).unwrap_or_default()
    }
}

/// Debian keeps the server's programs out of the path.
fn program(name: &str) -> Result<String> {
    let versions =
        fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is missing: install postgresql")?;
    let found =
        versions.flatten().map(|entry| entry.path().join("bin").join(name)).filter(|path| path.exists());
    let newest = found.max().with_context(|| format!("{name} is missing: install postgresql"))?;
    Ok(newest.to_string_lossy().into_owned())
}

/// Programs of PostgreSQL refuse to be root.
fn as_postgres<'a>(program: &'a str, args: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let fixed = ["--reuid", USER, "--regid", USER, "--clear-groups", program];
    fixed.into_iter().chain(args).map(str::to_owned).collect()
}
