//! The far end of a relay: bytes of the VM's screen, whichever way they come.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt, TryStreamExt, future};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_util::codec::{BytesCodec, Framed};

use wire::tls::{Live, name};

use crate::tickets::{Schema, Target};

/// The longest message a peer may send; bounds the memory of a relay.
pub const LONGEST_MESSAGE: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("it does not answer within {} s", PATIENCE.as_secs())]
    Slow,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the agent does not let us in ({0})")]
    Refused(tungstenite::http::StatusCode),
    #[error(transparent)]
    WebSocket(Box<tungstenite::Error>),
    #[error("it asks who we are: enrol the console proxy's machine first")]
    NotEnrolled,
    #[error("it sends text where bytes are expected")]
    Text,
}

/// Both directions; each takes the next piece only when the last one is gone.
pub struct Screen {
    pub from: Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>,
    pub to: Pin<Box<dyn Sink<Bytes, Error = Error> + Send>>,
}

/// Connects to the screen that `token` stands for.
pub async fn connect(target: &Target, token: &str, live: Option<&Live>) -> Result<Screen, Error> {
    let connected = timeout(PATIENCE, async {
        let stream = reach(target).await?;
        stream.set_nodelay(true)?;
        match target.schema {
            Schema::Rfb => Ok(plain(stream)),
            Schema::Agent => agent(stream, target, token).await,
            Schema::CertifiedAgent => agent(certified(stream, target, live).await?, target, token).await,
        }
    });
    connected.await.unwrap_or(Err(Error::Slow))
}

/// The name of a machine carries its address.
async fn reach(target: &Target) -> std::io::Result<TcpStream> {
    match name::address(&target.host) {
        Some(address) => TcpStream::connect((address, target.port)).await,
        None => TcpStream::connect((target.host.as_str(), target.port)).await,
    }
}

async fn certified(
    stream: TcpStream,
    target: &Target,
    live: Option<&Live>,
) -> Result<TlsStream<TcpStream>, Error> {
    let live = live.ok_or(Error::NotEnrolled)?;
    let name = ServerName::try_from(target.host.clone()).map_err(std::io::Error::other)?;
    let connector = TlsConnector::from(Arc::new(live.current().client().clone()));
    Ok(connector.connect(name, stream).await?)
}

fn plain(stream: TcpStream) -> Screen {
    let (to, from) = Framed::new(stream, BytesCodec::new()).split::<Bytes>();
    Screen {
        from: Box::pin(from.map_ok(|piece| piece.freeze()).err_into()),
        to: Box::pin(to.sink_err_into()),
    }
}

async fn agent<S>(stream: S, target: &Target, token: &str) -> Result<Screen, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let url = format!("ws://{}:{}/vm/console/{token}", bracketed(&target.host), target.port);
    let mut request = url.into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("binary"));
    let limits = WebSocketConfig::default()
        .max_message_size(Some(LONGEST_MESSAGE))
        .max_frame_size(Some(LONGEST_MESSAGE))
        .max_write_buffer_size(4 * LONGEST_MESSAGE);
    let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(limits)).await?;
    let (to, from) = socket.split();
    let from = from.err_into().try_take_while(|message| future::ok(!message.is_close()));
    let from = from.try_filter_map(|message| future::ready(payload(message)));
    let to = to.sink_err_into::<Error>().with(|piece| future::ok::<_, Error>(Message::Binary(piece)));
    Ok(Screen { from: Box::pin(from), to: Box::pin(to) })
}

fn payload(message: Message) -> Result<Option<Bytes>, Error> {
    match message {
        Message::Binary(piece) => Ok(Some(piece)),
        Message::Text(_) => Err(Error::Text),
        _ => Ok(None),
    }
}

/// An IPv6 address stands in brackets in a URL.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl From<tungstenite::Error> for Error {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Http(answer) => Error::Refused(answer.status()),
            tungstenite::Error::Io(error) => Error::Io(error),
            error => Error::WebSocket(Box::new(error)),
        }
    }
}
