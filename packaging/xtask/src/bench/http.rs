//! HTTP over a kept connection, with as little work as possible: what is measured is the other side.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A request or an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Its first line and its headers.
    pub head: String,
    pub body: Vec<u8>,
}

impl Connection {
    pub async fn open(to: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(to).await?)
    }

    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    pub async fn send(&mut self, message: &str) -> io::Result<()> {
        self.stream.write_all(message.as_bytes()).await
    }

    pub async fn ask(&mut self, request: &str) -> io::Result<Message> {
        self.send(request).await?;
        self.receive().await
    }

    /// The next message, which must say its length.
    pub async fn receive(&mut self) -> io::Result<Message> {
        loop {
            if let Some((message, length)) = Message::parse(&self.buffer) {
                self.buffer.drain(..length);
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl Message {
    /// The message at the beginning of `bytes` and its length, when all of it is there.
    fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let body = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&bytes[..body - 4]).into_owned();
        let mut message = Self { head, body: Vec::new() };
        let length = message.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        message.body = bytes.get(body..body + length)?.to_vec();
        Some((message, body + length))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// Of an answer.
    pub fn status(&self) -> Option<u16> {
        self.head.split(' ').nth(1)?.parse().ok()
    }

    /// Fails, with what it says, unless it is an answer of this status.
    pub fn must_be(self, status: u16) -> io::Result<Self> {
        if self.status() == Some(status) {
            return Ok(self);
        }
        Err(io::Error::other(format!("{}: {}", self.head, String::from_utf8_lossy(&self.body))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nX: y\r\n\r\n{}HTTP/1.1";

    #[test]
    fn a_message_ends_where_its_length_says() {
        let (message, length) = Message::parse(ANSWER).unwrap();
        assert_eq!((message.status(), &message.body[..]), (Some(202), &b"{}"[..]));
        assert_eq!(&ANSWER[length..], b"HTTP/1.1");
    }

    #[test]
    fn a_message_is_waited_for_until_all_of_it_is_there() {
        let whole = ANSWER.len() - b"HTTP/1.1".len();
        assert!((0..whole).all(|length| Message::parse(&ANSWER[..length]).is_none()));
    }

    #[test]
    fn headers_are_found_in_any_case_and_their_names_are_whole() {
        let (message, _) = Message::parse(ANSWER).unwrap();
        assert_eq!(message.header("content-LENGTH"), Some("2"));
        assert_eq!(message.header("length"), None);
    }

    #[test]
    fn another_status_than_the_expected_is_told_with_the_body() {
        let (message, _) = Message::parse(ANSWER).unwrap();
        let error = message.must_be(200).unwrap_err().to_string();
        assert!(error.contains("202 Accepted") && error.contains("{}"), "{error}");
    }
}
