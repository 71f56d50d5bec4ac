//! Runs programs: argument vectors only, a time limit on each, their words kept for the error.

use std::ffi::OsStr;
use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{ChildStdout, Command};

/// A program about to be run; killed when it takes longer than its limit or when the caller gives up.
pub struct Program {
    command: Command,
    words: Vec<String>,
    limit: Duration,
}

/// Why a program did not do its work. The text names the program, its arguments and its last words.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot start {program}: {source}")]
    Start { program: String, source: std::io::Error },
    #[error("{program} did not finish within {} s", limit.as_secs())]
    Slow { program: String, limit: Duration },
    #[error("{program} failed ({status}): {stderr}")]
    Failed { program: String, status: std::process::ExitStatus, stderr: String },
}

/// `program("ip").args(["link"]).run().await?`: with empty input, 60 s at most.
#[expect(clippy::disallowed_methods, reason = "this is where programs are started")]
pub fn program(name: impl AsRef<OsStr>) -> Program {
    let words = vec![name.as_ref().to_string_lossy().into_owned()];
    let mut command = Command::new(name);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.env("LC_ALL", "C");
    Program { command, words, limit: Duration::from_secs(60) }
}

impl Program {
    pub fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        for arg in args {
            self.words.push(arg.as_ref().to_string_lossy().into_owned());
            self.command.arg(arg);
        }
        self
    }

    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Its standard output, when it ends well.
    pub async fn run(self) -> Result<Vec<u8>, Error> {
        self.run_accepting(&[]).await
    }

    /// Its standard output, when it ends with 0 or with one of these exit codes.
    pub async fn run_accepting(mut self, codes: &[i32]) -> Result<Vec<u8>, Error> {
        tracing::debug!(program = %self, "run");
        let child = self.command.spawn();
        let child = child.map_err(|source| Error::Start { program: self.to_string(), source })?;
        let Ok(ended) = tokio::time::timeout(self.limit, child.wait_with_output()).await else {
            return Err(Error::Slow { program: self.to_string(), limit: self.limit });
        };
        let output = ended.map_err(|source| Error::Start { program: self.to_string(), source })?;
        if output.status.success() || output.status.code().is_some_and(|code| codes.contains(&code)) {
            return Ok(output.stdout);
        }
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::Failed { program: self.to_string(), status: output.status, stderr })
    }

    /// Hands its standard output on while it runs, in pieces cut anywhere.
    pub async fn run_watched(mut self, mut watch: impl FnMut(&[u8])) -> Result<(), Error> {
        tracing::debug!(program = %self, "run");
        let child = self.command.spawn();
        let mut child = child.map_err(|source| Error::Start { program: self.to_string(), source })?;
        let output = child.stdout.take();
        let work = async { tokio::try_join!(feed(output, &mut watch), child.wait_with_output()) };
        let Ok(ended) = tokio::time::timeout(self.limit, work).await else {
            return Err(Error::Slow { program: self.to_string(), limit: self.limit });
        };
        let ((), output) = ended.map_err(|source| Error::Start { program: self.to_string(), source })?;
        if output.status.success() {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::Failed { program: self.to_string(), status: output.status, stderr })
    }

    /// Its standard output as text.
    pub async fn text(self) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&self.run().await?).into_owned())
    }
}

async fn feed(output: Option<ChildStdout>, watch: &mut impl FnMut(&[u8])) -> std::io::Result<()> {
    let Some(mut output) = output else { return Ok(()) };
    let mut piece = [0; 4096];
    loop {
        match output.read(&mut piece).await? {
            0 => return Ok(()),
            length => watch(&piece[..length]),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failing_program_is_named_with_its_last_words() {
        let error = program("ls").arg("/no/such/place").run().await.unwrap_err().to_string();
        assert!(error.starts_with("ls /no/such/place failed"), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_stopped_at_its_limit() {
        let hang = program("sleep").arg("60").limit(Duration::from_millis(50));
        assert!(matches!(hang.run().await, Err(Error::Slow { .. })));
    }

    #[tokio::test]
    async fn a_watched_program_is_heard_before_it_ends() {
        let mut heard = Vec::new();
        let talk = program("sh").args(["-c", "echo one; echo two >&2; exit 3"]);
        let error = talk.run_watched(|piece| heard.extend_from_slice(piece)).await.unwrap_err();
        assert_eq!(heard, b"one\n");
        assert!(error.to_string().ends_with(": two"), "{error}");
    }

    #[tokio::test]
    async fn an_accepted_exit_code_is_an_answer() {
        let grep = || program("grep").args(["x", "/dev/null"]);
        assert!(grep().run().await.is_err());
        assert_eq!(grep().run_accepting(&[1]).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn an_argument_is_never_read_by_a_shell() {
        assert_eq!(program("echo").arg("$HOME; id").text().await.unwrap(), "$HOME; id\n");
    }
}
