//! Uploads: an import that waits for `PUT /images/{uuid}?token=…`.
//!
//! The token is good for one image's bits. A transfer that breaks off may begin anew, or continue with
//! `Content-Range: bytes from-to/total`; once all bits are there, accepted or refused, it is spent.
//! Whoever brings the bits is told the outcome, and so is the task.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use axum::body::BodyDataStream;
use axum::http::StatusCode;
use futures::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};

use super::order::{Order, Source};
use super::sink::{Sink, pour};
use super::{Error, Import};
use crate::store::Image;

const SHORTEST_TOKEN: usize = 16;
/// The longest silence within a transfer.
const SILENCE: Duration = Duration::from_secs(60);
/// How much of what nobody wants is still read, so that the uploader hears why.
const DRAIN: u64 = 64 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// What the uploader must present; kept as a digest.
#[derive(Clone, Copy, Debug)]
pub struct Token([u8; 32]);

/// Where an upload comes in.
pub struct Door {
    token: Token,
    arrivals: mpsc::Sender<Arrival>,
    busy: AtomicBool,
}

/// A body on its way to its import.
pub struct Arrival {
    pub body: BodyDataStream,
    pub part: Part,
    pub answer: Responder,
}

/// Which of the image's bytes a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of them; their number when it is known.
    Whole(Option<u64>),
    /// Those from `from` up to and without `to`.
    Range { from: u64, to: u64, total: u64 },
}

pub type Responder = oneshot::Sender<Answer>;

/// What became of a body.
#[derive(Clone, Debug)]
pub enum Answer {
    Accepted(Box<Image>),
    /// A part was taken; so many bytes are there.
    Received(u64),
    /// A part that does not fit: so many bytes are there.
    Gap(u64),
    Refused(StatusCode, String),
}

impl Token {
    pub fn new(text: Option<&str>) -> Result<Self, Error> {
        match text {
            Some(text) if text.len() >= SHORTEST_TOKEN => Ok(Token(Sha256::digest(text).into())),
            _ => Err(Error::BadUrl(format!("needs an upload token of {SHORTEST_TOKEN} characters or more"))),
        }
    }

    /// Takes the same time whatever is presented.
    fn is(&self, presented: &str) -> bool {
        let presented = Sha256::digest(presented);
        self.0.iter().zip(&presented).fold(0, |unlike, (a, b)| unlike | (a ^ b)) == 0
    }
}

impl Door {
    pub(super) fn of(order: &Order, arrivals: mpsc::Sender<Arrival>) -> Option<Self> {
        match order.source {
            Source::Upload(token) => Some(Door { token, arrivals, busy: AtomicBool::new(false) }),
            _ => None,
        }
    }

    pub fn opens_to(&self, presented: &str) -> bool {
        self.token.is(presented)
    }

    /// Hands a body in; gives it back when another is on its way or the last has come.
    pub fn enter(&self, arrival: Arrival) -> Result<(), Box<Arrival>> {
        match self.busy.compare_exchange(false, true, SeqCst, SeqCst) {
            Ok(_) => self.arrivals.try_send(arrival).map_err(|full| Box::new(full.into_inner())),
            Err(_) => Err(Box::new(arrival)),
        }
    }

    fn open(&self) {
        self.busy.store(false, SeqCst);
    }
}

impl Part {
    fn total(self) -> Option<u64> {
        match self {
            Part::Whole(length) => length,
            Part::Range { total, .. } => Some(total),
        }
    }
}

/// Waits until all bits are there. Leaves in `answer` whom to tell what becomes of them.
pub(super) async fn fetch(
    import: &Import<'_>,
    mut sink: Sink,
    mut arrivals: mpsc::Receiver<Arrival>,
    answer: &mut Option<Responder>,
) -> Result<Sink, Error> {
    loop {
        let Some(Arrival { body, part, answer: to_tell }) = arrivals.recv().await else {
            return Err(Error::Cancelled);
        };
        *answer = Some(to_tell);
        let mut body = body;
        let (back, taken) = take(import, sink, &mut body, part).await;
        sink = back;
        match taken {
            Ok(None) => return Ok(sink),
            Ok(Some(reply)) => tell(answer, reply),
            Err(error @ Error::Broken { .. }) => {
                tracing::info!(image = %import.id, %error, "upload broke off");
                tell(answer, Answer::Refused(error.status(), error.to_string()));
            }
            Err(error) => {
                tokio::spawn(drain(body));
                return Err(error);
            }
        }
        if let Some(door) = &import.running.door {
            door.open();
        }
    }
}

/// Takes one body. `None`: the image is complete.
async fn take(
    import: &Import<'_>,
    mut sink: Sink,
    body: &mut BodyDataStream,
    part: Part,
) -> (Sink, Result<Option<Answer>, Error>) {
    if let Err(error) = prepare(import, &mut sink, part).await {
        return (sink, Err(error));
    }
    if matches!(part, Part::Range { from, .. } if from != sink.length()) {
        let reply = Answer::Gap(sink.length());
        return (sink, Ok(Some(reply)));
    }
    let (sink, poured) = pour(sink, &mut timed(body)).await;
    let length = sink.length();
    let result = poured.and_then(|()| match part {
        Part::Whole(_) => Ok(None),
        Part::Range { to, .. } if length != to => Err(Error::Broken {
            received: length,
            reason: format!("the part does not end at byte {to} as its range says"),
        }),
        Part::Range { total, .. } if length == total => Ok(None),
        Part::Range { .. } => Ok(Some(Answer::Received(length))),
    });
    (sink, result)
}

async fn prepare(import: &Import<'_>, sink: &mut Sink, part: Part) -> Result<(), Error> {
    let anew = matches!(part, Part::Whole(_) | Part::Range { from: 0, .. });
    if anew && sink.length() > 0 {
        sink.restart()?;
    }
    match part.total() {
        Some(total) => import.expect(total, sink.length()).await,
        None => Ok(()),
    }
}

/// Breaks off when nothing comes for too long.
fn timed(body: &mut BodyDataStream) -> impl Stream<Item = Result<bytes::Bytes, String>> + Unpin {
    Box::pin(futures::stream::unfold(Some(body), async |body| {
        let body = body?;
        match tokio::time::timeout(SILENCE, body.next()).await {
            Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(body))),
            Ok(Some(Err(error))) => Some((Err(error.to_string()), None)),
            Ok(None) => None,
            Err(_) => Some((Err(format!("nothing came for {} s", SILENCE.as_secs())), None)),
        }
    }))
}

/// Tells the uploader of the last body what became of the import.
pub(super) fn answer(to_tell: Option<Responder>, result: &Result<Image, Error>) {
    let reply = match result {
        Ok(image) => Answer::Accepted(Box::new(image.clone())),
        Err(error) => Answer::Refused(error.status(), error.to_string()),
    };
    tell(&mut { to_tell }, reply);
}

/// An uploader that has gone needs no answer.
fn tell(to_tell: &mut Option<Responder>, reply: Answer) {
    if let Some(to_tell) = to_tell.take() {
        let _gone = to_tell.send(reply);
    }
}

/// Reads on for a while: a connection that is closed on unread bytes loses the answer on its way.
pub async fn drain(mut body: BodyDataStream) {
    let reading = async {
        let mut left = DRAIN;
        while let Some(Ok(chunk)) = body.next().await {
            left = left.saturating_sub(chunk.len() as u64);
            if left == 0 {
                break;
            }
        }
    };
    let _late = tokio::time::timeout(DRAIN_TIME, reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_to_itself_alone() {
        let token = Token::new(Some("0123456789abcdef")).unwrap();
        assert!(token.is("0123456789abcdef"));
        for other in ["", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0"] {
            assert!(!token.is(other), "{other}");
        }
    }
}
