//! What was killed is told to the controller: the fencer lays it down in files, the agent hands them over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wire::call::COMMAND_PATH;
use wire::calls::ha::{REPORT_SELF_FENCER, SelfFencerReport};

use crate::record::replace;
use crate::state::Host;

/// Older ones give way.
const MOST: usize = 100;
const PATIENCE: Duration = Duration::from_secs(10);

pub fn lay_down(dir: &Path, report: &SelfFencerReport) -> io::Result<()> {
    let dir = dir.join("reports");
    fs::create_dir_all(&dir)?;
    let mut before = laid_down(&dir)?;
    for old in before.drain(..before.len().saturating_sub(MOST - 1)) {
        fs::remove_file(old)?;
    }
    // In the order in which they came; two never have one name.
    let name = format!("{:020}.json", jiff::Timestamp::now().as_nanosecond());
    replace(&dir.join(name), &serde_json::to_vec(report)?)
}

/// Hands over what lies there, oldest first, until one is not taken.
pub async fn hand_over(host: &Host, dir: &Path) -> io::Result<()> {
    let (dir, url) = (dir.join("reports"), host.introduction.get().await.send_command_url);
    if url.is_empty() || !dir.is_dir() {
        return Ok(());
    }
    for path in laid_down(&dir)? {
        if !is_taken(host, &url, fs::read(&path)?).await {
            break;
        }
        fs::remove_file(path)?;
    }
    Ok(())
}

/// The controller says where it hears outcomes; what agents say of their own accord it hears beside that.
async fn is_taken(host: &Host, url: &str, report: Vec<u8>) -> bool {
    let url = url.strip_suffix("/callback").map_or(url.to_owned(), |base| format!("{base}/sendcommand"));
    let request = host.http.client().post(&url).header(COMMAND_PATH, REPORT_SELF_FENCER);
    let request = request.header("content-type", "application/json").timeout(PATIENCE).body(report);
    match request.send().await {
        Ok(answer) if answer.status().is_success() => return true,
        Ok(answer) => tracing::debug!(status = %answer.status(), url, "a report was not taken"),
        Err(error) => tracing::debug!(%error, url, "a report cannot be handed over yet"),
    }
    false
}

fn laid_down(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    let whole = entries.into_iter().map(|entry| entry.path());
    let mut whole: Vec<_> =
        whole.filter(|path| path.extension().is_some_and(|kind| kind == "json")).collect();
    whole.sort_unstable();
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;
    use wire::calls::host::Connect;

    use super::*;
    use crate::testing::host;

    #[tokio::test]
    async fn a_report_lies_there_until_somebody_has_taken_it() {
        let dir = tempfile::tempdir().unwrap();
        let cx = host(dir.path());
        let spool = dir.path().join("fencer");
        for reason in ["one", "two"] {
            lay_down(&spool, &SelfFencerReport { reason: reason.into(), ..Default::default() }).unwrap();
        }
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let hear = async move |headers: HeaderMap, body: String| {
            assert_eq!(headers[COMMAND_PATH], REPORT_SELF_FENCER);
            told.send(body.contains("\"two\"")).unwrap();
            if body.contains("\"two\"") { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/asyncrest", listener.local_addr().unwrap());
        let router = Router::new().route("/asyncrest/sendcommand", post(hear));
        tokio::spawn(async move { axum::serve(listener, router).await });
        hand_over(&cx, &spool).await.unwrap();
        assert!(heard.try_recv().is_err(), "nobody has connected this host");
        let cmd = Connect { send_command_url: format!("{url}/callback"), ..Connect::default() };
        crate::host::connect(cx.clone(), cmd).await.unwrap();
        hand_over(&cx, &spool).await.unwrap();
        assert_eq!((heard.recv().await, heard.recv().await), (Some(false), Some(true)));
        assert_eq!(laid_down(&spool.join("reports")).unwrap().len(), 1);
    }

    #[test]
    fn the_oldest_give_way() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..MOST + 3 {
            lay_down(dir.path(), &SelfFencerReport::default()).unwrap();
        }
        assert_eq!(laid_down(&dir.path().join("reports")).unwrap().len(), MOST);
    }
}
