//! Stands between the controller and the agents of its hosts, in both directions, on the real wire, and does
//! to each message what the plan says ([`Trick`]).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use engine::Id;
use engine::flow::FlowView;
use engine::flow::fault::Fault;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use wire::Call;
use wire::call::{EPOCH, GENERATION, RESOURCE, TASK_UUID};
use wire::calls::{device, host, imagestore, network, seed, vm};

use crate::plan::Trick;
use crate::watch::{Letter, Seen, Watch};

pub struct Relay {
    watch: Arc<Watch>,
    client: reqwest::Client,
    /// Known once it has started.
    controller: OnceLock<SocketAddr>,
    tasks: Mutex<HashMap<String, Task>>,
}

/// Commands that only look leave no mark on the agent: what comes after them is not refused.
const LOOKS: &[&str] = &[
    host::GetFact::PATH,
    host::GetCapacity::PATH,
    host::Ping::PATH,
    network::CheckVtep::PATH,
    vm::Sync::PATH,
    vm::CheckState::PATH,
    device::GetDeviceInfo::PATH,
    seed::Read::PATH,
    imagestore::Ping::PATH,
];

/// A task that went through here.
struct Task {
    flow: Option<Id<FlowView>>,
    /// How much had been seen when it was sent for the first time.
    from: usize,
    /// What is still to happen to the word of its outcome.
    letter: Option<Letter>,
}

/// A message that can be sent as often as one likes.
#[derive(Clone)]
struct Parcel {
    to: SocketAddr,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
struct Cut;

type Answer = Result<Response<Full<Bytes>>, Cut>;

/// Whose command it is.
struct Token {
    resource: String,
    generation: u64,
    epoch: u64,
}

impl Parcel {
    async fn read(to: SocketAddr, request: Request<Incoming>) -> Result<Parcel, Cut> {
        let (head, body) = request.into_parts();
        let mut headers = head.headers;
        for name in [header::HOST, header::CONTENT_LENGTH, header::CONNECTION] {
            headers.remove(name);
        }
        let path = head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        Ok(Parcel { to, method: head.method, path, headers, body })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn token(&self) -> Option<Token> {
        let number = |name| self.header(name)?.parse().ok();
        let resource = self.header(RESOURCE)?.to_owned();
        Some(Token { resource, generation: number(GENERATION)?, epoch: number(EPOCH)? })
    }
}

impl Relay {
    pub fn new(watch: &Arc<Watch>) -> Arc<Relay> {
        let client = reqwest::Client::builder().no_proxy().build().expect("the TLS library can be set up");
        let (watch, controller) = (Arc::clone(watch), OnceLock::new());
        Arc::new(Relay { watch, client, controller, tasks: Mutex::default() })
    }

    /// Takes in what agents tell the controller.
    pub async fn for_outcomes(self: &Arc<Self>, stop: &CancellationToken) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (relay, address) = (Arc::clone(self), listener.local_addr().unwrap());
        serve(listener, stop, move |request| Arc::clone(&relay).outcome(request));
        address
    }

    /// Takes in what the controller tells the agent.
    pub fn for_commands(
        self: &Arc<Self>,
        listener: TcpListener,
        agent: SocketAddr,
        stop: &CancellationToken,
    ) {
        let relay = Arc::clone(self);
        serve(listener, stop, move |request| Arc::clone(&relay).command(agent, request));
    }

    pub fn leads_to(&self, controller: SocketAddr) {
        self.controller.set(controller).expect("told once");
    }

    async fn forward(&self, parcel: Parcel) -> Answer {
        let url = format!("http://{}{}", parcel.to, parcel.path);
        let request = self.client.request(parcel.method, url).headers(parcel.headers).body(parcel.body);
        let answer = request.send().await.map_err(|_| Cut)?;
        let mut response = Response::builder().status(answer.status());
        if let Some(kind) = answer.headers().get(header::CONTENT_TYPE) {
            response = response.header(header::CONTENT_TYPE, kind);
        }
        let body = answer.bytes().await.map_err(|_| Cut)?;
        Ok(response.body(Full::new(body)).expect("made of an answer"))
    }

    async fn command(self: Arc<Self>, agent: SocketAddr, request: Request<Incoming>) -> Answer {
        let parcel = Parcel::read(agent, request).await?;
        let Some(token) = parcel.token() else { return self.question(parcel).await };
        let Some(task) = parcel.header(TASK_UUID).map(str::to_owned) else {
            let sender = (token.resource.clone(), token.generation);
            let letter = self.watch.message(sender, &parcel.path, true).and_then(|(_, letter)| letter);
            let Some(letter) = letter else { return self.forward(parcel).await };
            return self.to_the_end(parcel, token, String::new(), letter).await;
        };
        match self.first(&parcel, &token, &task) {
            None => self.deliver(parcel, &token, &task).await,
            Some(letter) => self.to_the_end(parcel, token, task, letter).await,
        }
    }

    /// Also when the sender hangs up.
    async fn to_the_end(
        self: Arc<Self>,
        parcel: Parcel,
        token: Token,
        task: String,
        letter: Letter,
    ) -> Answer {
        // To one who waits for a while, nothing at all; to one who would wait for ever, the connection's end.
        let waits = !task.is_empty();
        match tokio::spawn(self.trick(parcel, token, task, letter)).await {
            Ok(Some(answer)) => answer,
            _ if waits => std::future::pending().await,
            _ => Err(Cut),
        }
    }

    /// What shall happen to a command that is sent for the first time.
    fn first(&self, parcel: &Parcel, token: &Token, task: &str) -> Option<Letter> {
        let mut tasks = self.tasks.lock().unwrap();
        if tasks.contains_key(task) {
            return None;
        }
        let sender = (token.resource.clone(), token.generation);
        let (flow, letter) = self.watch.message(sender, &parcel.path, false).unzip();
        let letter = letter.flatten();
        let from = self.watch.now();
        let told = |letter: &Letter| {
            use Trick::{Early, Overdue, Retold, Unthanked, Untold};
            matches!(letter.trick, Early | Overdue | Retold | Unthanked | Untold)
        };
        tasks.insert(task.to_owned(), Task { flow, from, letter: letter.clone().filter(told) });
        letter
    }

    /// Something that is no command: a question after a task, or a call outside of flows.
    async fn question(&self, parcel: Parcel) -> Answer {
        let task = parcel.path.strip_prefix("/tasks/").map(str::to_owned);
        let answer = self.forward(parcel).await?;
        let Some(task) = task else { return Ok(answer) };
        let (head, body) = answer.into_parts();
        let body = body.collect().await.expect("it is all there").to_bytes();
        if is_done(&body) {
            self.watch.saw(Seen::Known(task));
        }
        Ok(Response::from_parts(head, Full::new(body)))
    }

    /// Brings a command to its agent.
    async fn deliver(&self, parcel: Parcel, token: &Token, task: &str) -> Answer {
        let (agent, resource, task) = (parcel.to, token.resource.clone(), task.to_owned());
        let looks = task.is_empty() || LOOKS.contains(&&*parcel.path);
        let answer = self.forward(parcel).await?;
        if answer.status().is_success() {
            self.watch.saw(Seen::Taken { agent, resource, epoch: (!looks).then_some(token.epoch), task });
        }
        Ok(answer)
    }

    /// The answer, if one comes.
    async fn trick(
        self: Arc<Self>,
        parcel: Parcel,
        token: Token,
        task: String,
        letter: Letter,
    ) -> Option<Answer> {
        match letter.trick {
            Trick::Lost => {
                self.watch.settled(&letter);
                None
            }
            Trick::Unheard => {
                let _unheard = self.deliver(parcel, &token, &task).await;
                self.watch.settled(&letter);
                None
            }
            Trick::Late | Trick::Outrun | Trick::Outlived => {
                tokio::spawn(self.overtaken(parcel, token, task, letter));
                None
            }
            Trick::Again => {
                let from = self.watch.now();
                let answer = self.deliver(parcel.clone(), &token, &task).await;
                tokio::spawn(self.once_more(parcel, task, letter, from));
                Some(answer)
            }
            Trick::Early => {
                let from = self.watch.now();
                let answer = self.deliver(parcel, &token, &task).await;
                self.must_be_taken(&answer, &letter, &task);
                self.watch.until(from, |seen| matches!(seen, Seen::Told(_, told) if *told == task)).await;
                Some(answer)
            }
            Trick::Untold | Trick::Unthanked | Trick::Overdue | Trick::Retold => {
                let answer = self.deliver(parcel, &token, &task).await;
                self.must_be_taken(&answer, &letter, &task);
                Some(answer)
            }
        }
    }

    /// Otherwise no word of an outcome comes.
    fn must_be_taken(&self, answer: &Answer, letter: &Letter, task: &str) {
        if !answer.as_ref().is_ok_and(|answer| answer.status().is_success()) {
            self.tasks.lock().unwrap().get_mut(task).map(|known| known.letter.take());
            self.watch.spoilt(letter);
        }
    }

    /// The command arrives after its repetition, or after what its flow does next with the resource there.
    async fn overtaken(self: Arc<Self>, parcel: Parcel, token: Token, task: String, letter: Letter) {
        let (from, late) = (self.watch.now(), letter.trick == Trick::Late);
        match letter.trick {
            Trick::Outrun => self.watch.strike(letter.flow, Fault::Fail),
            Trick::Outlived => self.watch.strike(letter.flow, Fault::Crash),
            _ => {}
        }
        let next = |seen: &Seen| match seen {
            Seen::Taken { agent, resource, task: other, epoch } => {
                let same = *agent == parcel.to && *resource == token.resource;
                same && if late { *other == task } else { epoch.is_some() }
            }
            Seen::Ended(flow) => *flow == letter.flow,
            _ => false,
        };
        let seen = self.watch.until(from, next).await;
        let superseded = matches!(seen, Seen::Taken { epoch, .. } if epoch > Some(token.epoch));
        let (agent, case) = (parcel.to, letter.case.clone());
        match self.forward(parcel).await {
            Ok(answer) if superseded && answer.status() != StatusCode::CONFLICT => {
                self.watch.odd(format!("{case}: it was not refused, but answered with {}", answer.status()));
            }
            Ok(_) => {}
            Err(Cut) => self.watch.odd(format!("{case}: it could not be sent later")),
        }
        self.comes_to_rest(agent, &task).await;
        self.watch.settled(&letter);
    }

    async fn once_more(self: Arc<Self>, parcel: Parcel, task: String, letter: Letter, from: usize) {
        self.goes_on(&letter, from).await;
        let agent = parcel.to;
        if self.forward(parcel).await.is_err() {
            self.watch.odd(format!("{}: it could not be sent again", letter.case));
        }
        self.comes_to_rest(agent, &task).await;
        self.watch.settled(&letter);
    }

    async fn goes_on(&self, letter: &Letter, from: usize) {
        let goes_on = |seen: &Seen| match seen {
            Seen::Went(flow) | Seen::Ended(flow) => *flow == letter.flow,
            _ => false,
        };
        self.watch.until(from, goes_on).await;
    }

    /// Waits until the agent does nothing with the task any longer.
    async fn comes_to_rest(&self, agent: SocketAddr, task: &str) {
        let (method, path) = (Method::GET, format!("/tasks/{task}"));
        let question = Parcel { to: agent, method, path, headers: HeaderMap::new(), body: Bytes::new() };
        while !task.is_empty() {
            let Ok(answer) = self.forward(question.clone()).await else { return };
            let known = answer.status().is_success();
            let body = answer.into_body().collect().await.expect("it is all there").to_bytes();
            if !known || is_done(&body) {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn outcome(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let controller = *self.controller.get().ok_or(Cut)?;
        let parcel = Parcel::read(controller, request).await?;
        let task = parcel.header(TASK_UUID).unwrap_or_default().to_owned();
        let known = |known: &mut Task| (known.flow, known.from, known.letter.take());
        let (flow, from, letter) = self.tasks.lock().unwrap().get_mut(&task).map(known).unwrap_or_default();
        match letter {
            None => self.tell(parcel, flow, task).await,
            Some(letter) => self.trick_outcome(parcel, (task, from), letter).await,
        }
    }

    async fn tell(&self, parcel: Parcel, flow: Option<Id<FlowView>>, task: String) -> Answer {
        let answer = self.forward(parcel).await?;
        if let Some(flow) = flow {
            self.watch.saw(Seen::Told(flow, task));
        }
        Ok(answer)
    }

    async fn trick_outcome(
        self: Arc<Self>,
        parcel: Parcel,
        (task, from): (String, usize),
        letter: Letter,
    ) -> Answer {
        let flow = letter.flow;
        match letter.trick {
            Trick::Untold => {
                self.watch.settled(&letter);
                Ok(Response::new(Full::default()))
            }
            Trick::Unthanked => {
                self.tell(parcel, Some(flow), task.clone()).await?;
                tokio::spawn(self.told_again(task, letter));
                Err(Cut)
            }
            Trick::Overdue => self.overdue(parcel, (task, from), letter).await,
            Trick::Retold => {
                let answer = self.tell(parcel.clone(), Some(flow), task.clone()).await;
                tokio::spawn(self.tell_again(parcel, task, letter, from));
                answer
            }
            _ => {
                let answer = self.tell(parcel, Some(flow), task).await;
                self.watch.settled(&letter);
                answer
            }
        }
    }

    /// The word comes when the flow has asked for the outcome and gone on.
    async fn overdue(&self, parcel: Parcel, (task, from): (String, usize), letter: Letter) -> Answer {
        let heard = |seen: &Seen| match seen {
            Seen::Known(known) => *known == task,
            Seen::Told(_, told) => *told == task,
            Seen::Ended(flow) => *flow == letter.flow,
            _ => false,
        };
        let next = |seen: &Seen| match seen {
            Seen::Told(flow, other) => *flow == letter.flow && *other != task,
            Seen::Ended(flow) => *flow == letter.flow,
            _ => false,
        };
        match self.watch.until(from, heard).await {
            Seen::Known(_) => drop(self.watch.until(from, next).await),
            // The command was sent twice for want of an answer, and so the agent has told it twice.
            _ => self.watch.spoilt(&letter),
        }
        let answer = self.tell(parcel, Some(letter.flow), task.clone()).await;
        self.watch.settled(&letter);
        answer
    }

    /// The agent has not heard that its word was taken, and says it again.
    async fn told_again(self: Arc<Self>, task: String, letter: Letter) {
        let told = |seen: &Seen| matches!(seen, Seen::Told(_, told) if *told == task);
        self.watch.until(self.watch.now(), told).await;
        self.watch.settled(&letter);
    }

    async fn tell_again(self: Arc<Self>, parcel: Parcel, task: String, letter: Letter, from: usize) {
        self.goes_on(&letter, from).await;
        if self.tell(parcel, None, task).await.is_err() {
            self.watch.odd(format!("{}: it could not be told again", letter.case));
        }
        self.watch.settled(&letter);
    }
}

fn is_done(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|told| told["state"] == "done")
}

fn serve<F>(
    listener: TcpListener,
    stop: &CancellationToken,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
) where
    F: Future<Output = Answer> + Send + 'static,
{
    let stop = stop.clone();
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(stop.clone().run_until_cancelled_owned(converse(stream, answer.clone())));
        }
    }));
}

async fn converse<F>(stream: TcpStream, answer: impl Fn(Request<Incoming>) -> F + Clone)
where
    F: Future<Output = Answer> + Send + 'static,
{
    let _ = stream.set_nodelay(true);
    let served = hyper::server::conn::http1::Builder::new();
    // Whoever hangs up does not wait for an answer.
    let _ = served.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}
