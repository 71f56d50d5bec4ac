//! A PostgreSQL of one's own, on loopback, that ends with the test.
//!
//! It does not wait for the disk: what a killed process has written the kernel keeps, and a disk that is busy with
//! other things for seconds would end leases that a test means to hold.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};

use crate::lab::program::{command, run};
use crate::lab::tail;

/// Longer than a start takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const USER: &str = "postgres";

/// Killed when dropped.
#[derive(Debug)]
pub struct Postgres {
    dir: PathBuf,
    address: SocketAddr,
    options: Vec<String>,
    server: Option<Child>,
}

impl Postgres {
    /// An empty one with its files in `dir`, which must be where another user may go; it runs.
    pub async fn start(dir: &Path) -> Result<Self> {
        let mut postgres = Self::laid_out(dir)?;
        let data = postgres.data();
        let init = ["-D", &data, "-U", "cumulet", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
        run("setpriv", as_postgres(&program("initdb")?, init)).context("initdb")?;
        postgres.resume().await?;
        Ok(postgres)
    }

    /// A standby that follows `primary`, which waits for it at every commit.
    pub async fn standby(dir: &Path, primary: &Self) -> Result<Self> {
        let mut standby = Self::laid_out(dir)?;
        let from =
            format!("host=127.0.0.1 port={} user=cumulet application_name=standby", primary.address.port());
        let copy =
            ["-D", &standby.data(), "-d", &from, "-R", "-X", "stream", "-c", "fast"].map(str::to_owned);
        run("setpriv", as_postgres(&program("pg_basebackup")?, copy)).context("pg_basebackup")?;
        standby.resume().await?;
        primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'standby'")?;
        primary.sql("SELECT pg_reload_conf()")?;
        Ok(standby)
    }

    fn laid_out(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let user = User::from_name(USER)?.context("there is no user postgres: install postgresql")?;
        chown(dir, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        Ok(Self { dir: dir.to_owned(), address, options: Vec::new(), server: None })
    }

    /// `name=value` from the next start on.
    #[must_use]
    pub fn with(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients connect to; the database is made when it is missing.
    pub fn database(&self, name: &str) -> Result<String> {
        let known = self.sql(&format!("SELECT 1 FROM pg_database WHERE datname = '{name}'"))?;
        if known.trim().is_empty() {
            self.sql(&format!("CREATE DATABASE {name}"))?;
        }
        Ok(self.url(name))
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://cumulet@{}/{database}", self.address)
    }

    /// What the statement answers, as plain text.
    pub fn sql(&self, statement: &str) -> Result<String> {
        self.sql_in("postgres", statement)
    }

    pub fn sql_in(&self, database: &str, statement: &str) -> Result<String> {
        run("psql", ["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement, &self.url(database)])
    }

    /// Starts it, and waits until it answers.
    pub async fn resume(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let (port, data, sockets) = (self.address.port().to_string(), self.data(), self.text("."));
        let mut args =
            vec!["-D", &data, "-h", "127.0.0.1", "-p", &port, "-k", &sockets, "-c", "max_connections=300"];
        args.extend(["-c", "fsync=off"]);
        self.options.iter().for_each(|option| args.extend(["-c", option]));
        let mut server: Command = command("setpriv", as_postgres(&program("postgres")?, args));
        self.server = Some(server.stdout(Stdio::null()).stderr(log).spawn()?);
        let began = Instant::now();
        while self.sql("SELECT 1").is_err() {
            let ended = self.server.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || began.elapsed() > PATIENCE {
                bail!("PostgreSQL does not start:\n{}", tail(&self.log(), 20));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Ends it: by SIGINT as on a restart, by SIGQUIT as in a crash.
    pub fn stop(&mut self, signal: Signal) -> Result<()> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        kill(Pid::from_raw(i32::try_from(server.id())?), signal)?;
        server.wait()?;
        Ok(())
    }

    /// Ends being a standby: takes writes from now on.
    pub fn promote(&self) -> Result<()> {
        self.sql("SELECT pg_promote()").map(drop)
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    fn data(&self) -> String {
        self.text("data")
    }

    fn text(&self, entry: &str) -> String {
        self.dir.join(entry).to_string_lossy().into_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _gone_already = self.stop(Signal::SIGQUIT);
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

/// Programs of PostgreSQL refuse to be root; they end when who started them does.
fn as_postgres<A: AsRef<str>>(program: &str, args: impl IntoIterator<Item = A>) -> Vec<String> {
    let fixed = ["--reuid", USER, "--regid", USER, "--clear-groups", "--pdeathsig", "QUIT", program];
    let given = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect::<Vec<_>>();
    fixed.into_iter().map(str::to_owned).chain(given).collect()
}
