//! A proxy in this process, the controller that commands it, and a viewer.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use console_proxy::console::{self, Consoles};
use console_proxy::front::{self, Front};
use console_proxy::tickets::Tickets;
use futures::StreamExt;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};
use tokio_tungstenite::tungstenite::{Error, http};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::{CancellationToken, DropGuard};
use wire::agent::{Agent, Machine, Routes};
use wire::caller::{CallError, Caller};
use wire::calls::console::Establish;
use wire::{Call, TaskId};

pub type Viewer = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub struct Proxy {
    pub port: u16,
    commands: String,
    caller: Caller,
    pub shutdown: CancellationToken,
    _stop: DropGuard,
    _state: TempDir,
}

impl Proxy {
    pub async fn start() -> Self {
        let (web, port) = listen().await;
        let (commands, commands_port) = listen().await;
        let (callbacks, callbacks_port) = listen().await;
        let (tickets, shutdown) = (Arc::new(Tickets::default()), CancellationToken::new());
        let front = Front {
            tickets: tickets.clone(),
            allowed_origins: vec!["https://ui.example".into()],
            live: None,
            shutdown: shutdown.clone(),
        };
        tokio::spawn(front::serve(web, front));
        let state = tempfile::tempdir().unwrap();
        let agent = Agent { name: "cumulet-console-proxy", state_dir: state.path().into(), again: false };
        let routes = console::routes(Routes::new(Arc::new(Consoles { tickets, port })));
        tokio::spawn(agent.serve_on(commands, None, Machine::here().unwrap(), routes, shutdown.clone()));
        let caller = Caller::new(format!("http://127.0.0.1:{callbacks_port}/asyncrest/callback"));
        tokio::spawn(axum::serve(callbacks, caller.router()).into_future());
        let commands = format!("http://127.0.0.1:{commands_port}");
        Proxy {
            port,
            commands,
            caller,
            shutdown: shutdown.clone(),
            _stop: shutdown.drop_guard(),
            _state: state,
        }
    }

    pub async fn call<C: Call>(&self, command: C) -> Result<C::Reply, CallError> {
        let deadline = Instant::now() + Duration::from_secs(10);
        self.caller.call(&self.commands, &TaskId::random(), None, deadline, &command).await
    }

    /// A ticket to a VNC server on `port`, good for a minute.
    pub async fn ticket(&self, token: &str, port: u16) {
        self.call(establish(token, "vnc", port)).await.unwrap();
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(self.url(path)).send().await.unwrap()
    }

    pub async fn view(&self, token: &str) -> Viewer {
        self.view_from(token, None).await.unwrap()
    }

    /// Opens a console as a page of `origin` does; the answer's status when that is refused.
    pub async fn view_from(&self, token: &str, origin: Option<&str>) -> Result<Viewer, u16> {
        let url = format!("ws://127.0.0.1:{}/websockify?token={token}", self.port);
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", http::HeaderValue::from_static("binary"));
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((viewer, answer)) => {
                assert_eq!(answer.headers()["sec-websocket-protocol"], "binary");
                Ok(viewer)
            }
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }
}

pub fn establish(token: &str, schema: &str, port: u16) -> Establish {
    let expires = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(60);
    Establish {
        token: token.into(),
        target_schema: schema.into(),
        target_hostname: "127.0.0.1".into(),
        target_port: port,
        vm_uuid: "0123456789abcdef0123456789abcdef".into(),
        expired_date: u64::try_from(expires.as_millis()).unwrap(),
        ..Establish::default()
    }
}

pub async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// How the proxy says goodbye, whatever comes before.
pub async fn farewell(viewer: &mut Viewer) -> CloseFrame {
    let wait = async {
        loop {
            match viewer.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return frame,
                Some(Ok(_)) => {}
                other => panic!("no farewell: {other:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("no farewell within 10 s")
}

/// The next bytes that come.
pub async fn bytes(viewer: &mut Viewer) -> Vec<u8> {
    loop {
        match viewer.next().await {
            Some(Ok(Message::Binary(bytes))) => return bytes.into(),
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("no bytes: {other:?}"),
        }
    }
}
