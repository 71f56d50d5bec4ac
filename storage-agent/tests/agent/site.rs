//! A web server that answers what a test says, byte by byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub struct Site {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

/// The bytes of one answer, and whether the connection then stays open in silence.
pub struct Reply {
    pub bytes: Vec<u8>,
    pub hangs: bool,
}

impl Site {
    pub async fn new(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Site::at("127.0.0.1", answer).await
    }

    pub async fn at(ip: &str, answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (Arc::new(answer), heads.clone());
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone(), seen.clone()));
            }
        });
        Site { address, heads, serving }
    }

    /// Always the same image.
    pub async fn with(image: Vec<u8>) -> Self {
        Site::new(move |_| Reply::ok(&image)).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The heads of the requests that came.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Reply {
    pub fn ok(body: &[u8]) -> Self {
        Reply::new("200 OK", &format!("content-length: {}\r\n", body.len()), body)
    }

    pub fn new(status: &str, fields: &str, body: &[u8]) -> Self {
        let mut bytes = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{fields}\r\n").into_bytes();
        bytes.extend_from_slice(body);
        Reply { bytes, hangs: false }
    }

    pub fn redirect(to: &str) -> Self {
        Reply::new("302 Found", &format!("location: {to}\r\ncontent-length: 0\r\n"), b"")
    }

    pub fn then_hangs(self) -> Self {
        Reply { hangs: true, ..self }
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: Arc<dyn Fn(&str) -> Reply + Send + Sync>,
    heads: Arc<Mutex<Vec<String>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    heads.lock().unwrap().push(head.clone());
    let reply = answer(&head);
    // A client that has heard enough hangs up.
    let _ = stream.write_all(&reply.bytes).await;
    let _ = stream.flush().await;
    if reply.hangs {
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
    let _ = stream.shutdown().await;
}
