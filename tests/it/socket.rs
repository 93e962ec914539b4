//! A signaling client of a few lines: says what it is told, waits for what it wants.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Error, Message, WebSocket};

use crate::harness::Server;

/// One socket to a server.
pub struct Socket(WebSocket<TcpStream>);

impl Socket {
    /// Opens `/signal` as a browser of the server's own pages would.
    pub fn open(server: &Server) -> Self {
        Self::try_open(server, &[("Sec-WebSocket-Protocol", "reelay.v1")]).unwrap()
    }

    /// Opens it with these headers; the HTTP status if it is refused.
    pub fn try_open(server: &Server, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let mut request = format!("ws://{}/signal", server.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tungstenite::HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Joins; the `joined` message.
    pub fn join(server: &Server, room: &str, name: &str) -> (Self, Value) {
        let mut socket = Self::open(server);
        socket.say(json!({"type": "join", "room": room, "name": name}));
        let joined = socket.wait("joined");
        (socket, joined)
    }

    /// Sends a message.
    pub fn say(&mut self, message: Value) {
        self.text(&message.to_string());
    }

    /// Sends a text.
    pub fn text(&mut self, text: &str) {
        // A server that has closed already is seen by the next read.
        let _ = self.0.send(Message::text(text));
    }

    /// Sends anything.
    pub fn raw(&mut self, message: Message) {
        let _ = self.0.send(message);
    }

    /// The next message; `None` when the socket is closed.
    pub fn next(&mut self) -> Option<Value> {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("the server said nothing")
                }
                Err(_) => return None,
            }
        }
    }

    /// Skips messages until one of this type.
    pub fn wait(&mut self, kind: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.next().unwrap_or_else(|| panic!("closed before '{kind}'"));
            if message["type"] == kind {
                return message;
            }
            assert!(Instant::now() < deadline, "no '{kind}' in time");
        }
    }

    /// Skips messages until an error; its code and `ref`.
    pub fn error(&mut self) -> (String, Option<String>) {
        let error = self.wait("error");
        (error["code"].as_str().unwrap().to_owned(), error["ref"].as_str().map(str::to_owned))
    }

    /// Reads to the end; the reason of `closed`, if it was said.
    pub fn end(mut self) -> Option<String> {
        let mut reason = None;
        while let Some(message) = self.next() {
            if message["type"] == "closed" {
                reason = message["reason"].as_str().map(str::to_owned);
            }
        }
        reason
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
