//! Git over smart HTTP: `git http-backend` behind a small server that can be told to misbehave.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use base64::Engine as _;

use super::Upstream;
use crate::RepositoryUrl;

/// How the server treats requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// As a Git server.
    #[default]
    Normal,
    /// Takes the request and never answers.
    Hang,
    /// Answers the list of references, and then hangs in the middle of the pack.
    HangInPack,
    /// Answers one byte after the other with a pause in between.
    Drip(Duration),
    /// Answers this status without a body.
    Status(u16),
    /// Answers a web page.
    Html,
    /// Sends half of each answer and hangs up.
    Cut,
    /// Takes what is pushed, and hangs up before it says so.
    DropAnswers,
    /// Redirects to the same path of this base address.
    Redirect(String),
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
}

/// A server for one repository.
#[derive(Debug)]
pub struct SmartHttp {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    root: PathBuf,
    account: Option<(String, String)>,
    behaviour: Mutex<Behaviour>,
    seen: Mutex<Vec<Seen>>,
    came: Condvar,
    stop: Mutex<bool>,
    /// Connections that are kept open without an answer.
    held: Mutex<Vec<TcpStream>>,
}

impl SmartHttp {
    /// Serves `upstream` to everyone.
    pub fn start(upstream: &Upstream) -> Self {
        Self::serve(upstream, None)
    }

    /// Serves `upstream` to one account.
    pub fn with_account(upstream: &Upstream, user: &str, password: &str) -> Self {
        Self::serve(upstream, Some((user.to_owned(), password.to_owned())))
    }

    fn serve(upstream: &Upstream, account: Option<(String, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            root: upstream.parent().to_owned(),
            account,
            behaviour: Mutex::default(),
            seen: Mutex::default(),
            came: Condvar::new(),
            stop: Mutex::new(false),
            held: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if *shared.stop.lock().unwrap() {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    // A client that goes away is its own affair.
                    let _ = shared.connection(stream);
                });
            }
        });
        Self { port, state }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The address of the repository.
    pub fn url(&self) -> RepositoryUrl {
        format!("{}/releases.git", self.base()).parse().unwrap()
    }

    /// Changes how requests are treated from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.state.behaviour.lock().unwrap() = behaviour;
    }

    /// The requests that came since the last call.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.seen.lock().unwrap())
    }

    /// Waits until a request comes whose path holds `text`; fails after half a minute.
    pub fn wait_for(&self, text: &str) {
        let (seen, limit) = self
            .state
            .came
            .wait_timeout_while(self.state.seen.lock().unwrap(), Duration::from_secs(30), |seen| {
                !seen.iter().any(|one| one.path.contains(text))
            })
            .unwrap();
        drop(seen);
        assert!(!limit.timed_out(), "no request for {text} came");
    }
}

impl Drop for SmartHttp {
    fn drop(&mut self) {
        *self.state.stop.lock().unwrap() = true;
        self.state.held.lock().unwrap().clear();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

struct Incoming {
    seen: Seen,
    content_type: Option<String>,
    encoding: Option<String>,
    protocol: Option<String>,
    body: Vec<u8>,
}

impl State {
    fn connection(&self, stream: TcpStream) -> std::io::Result<()> {
        let Some(request) = read_request(&stream)? else { return Ok(()) };
        let behaviour = self.behaviour.lock().unwrap().clone();
        self.seen.lock().unwrap().push(request.seen.clone());
        self.came.notify_all();
        match &behaviour {
            Behaviour::Hang => {
                self.held.lock().unwrap().push(stream);
                return Ok(());
            }
            Behaviour::Status(status) => return answer(&stream, *status, "", b""),
            Behaviour::Html => {
                return answer(&stream, 200, "Content-Type: text/html\r\n", b"<html>Sign in</html>");
            }
            Behaviour::Redirect(base) => {
                return answer(&stream, 302, &format!("Location: {base}{}\r\n", request.seen.path), b"");
            }
            Behaviour::Normal
            | Behaviour::HangInPack
            | Behaviour::Drip(_)
            | Behaviour::Cut
            | Behaviour::DropAnswers => {}
        }
        if !self.admits(&request.seen) {
            return answer(&stream, 401, "WWW-Authenticate: Basic realm=\"git\"\r\n", b"");
        }
        let (status, headers, body) = self.backend(&request);
        let whole = response(status, &headers, &body);
        let pack = request.seen.method == "POST";
        match behaviour {
            Behaviour::Cut => (&stream).write_all(&whole[..whole.len() / 2]),
            Behaviour::DropAnswers if pack => Ok(()),
            Behaviour::HangInPack if pack => {
                (&stream).write_all(&whole[..whole.len() / 2])?;
                self.held.lock().unwrap().push(stream);
                Ok(())
            }
            Behaviour::Drip(pause) => {
                for byte in whole {
                    (&stream).write_all(&[byte])?;
                    thread::sleep(pause);
                }
                Ok(())
            }
            _ => (&stream).write_all(&whole),
        }
    }

    fn admits(&self, seen: &Seen) -> bool {
        let Some((user, password)) = &self.account else { return true };
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        seen.authorization.as_deref() == Some(&format!("Basic {encoded}"))
    }

    fn backend(&self, request: &Incoming) -> (u16, String, Vec<u8>) {
        let (path, query) = request.seen.path.split_once('?').unwrap_or((&request.seen.path, ""));
        let mut child = Command::new("git")
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("HOME", &self.root)
            .env("PATH_INFO", path)
            .env("QUERY_STRING", query)
            .env("REQUEST_METHOD", &request.seen.method)
            .env("CONTENT_TYPE", request.content_type.as_deref().unwrap_or_default())
            .env("CONTENT_LENGTH", request.body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", request.encoding.as_deref().unwrap_or_default())
            .env("GIT_PROTOCOL", request.protocol.as_deref().unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("this test needs the program `git` with http-backend: {error}"));
        let mut stdin = child.stdin.take().unwrap();
        let body = request.body.clone();
        let feeder = thread::spawn(move || {
            let _ = stdin.write_all(&body);
        });
        let output = child.wait_with_output().unwrap().stdout;
        feeder.join().unwrap();
        split_cgi(&output)
    }
}

fn split_cgi(output: &[u8]) -> (u16, String, Vec<u8>) {
    let Some(end) = output.windows(4).position(|four| four == b"\r\n\r\n") else {
        return (500, String::new(), Vec::new());
    };
    let mut status = 200;
    let mut headers = String::new();
    for line in String::from_utf8_lossy(&output[..end]).split("\r\n") {
        match line.strip_prefix("Status: ") {
            Some(text) => status = text[..3].parse().unwrap(),
            None => headers.push_str(&format!("{line}\r\n")),
        }
    }
    (status, headers, output[end + 4..].to_vec())
}

fn response(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut whole =
        format!("HTTP/1.1 {status} Status\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n")
            .into_bytes();
    whole.extend_from_slice(body);
    whole
}

fn answer(mut stream: &TcpStream, status: u16, headers: &str, body: &[u8]) -> std::io::Result<()> {
    stream.write_all(&response(status, headers, body))
}

fn read_request(stream: &TcpStream) -> std::io::Result<Option<Incoming>> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace();
    let (method, path) =
        (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let mut request = Incoming {
        seen: Seen { method, path, authorization: None },
        content_type: None,
        encoding: None,
        protocol: None,
        body: Vec::new(),
    };
    let mut length = 0;
    let mut chunked = false;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let value = value.trim().to_owned();
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.seen.authorization = Some(value),
            "content-type" => request.content_type = Some(value),
            "content-encoding" => request.encoding = Some(value),
            "git-protocol" => request.protocol = Some(value),
            "content-length" => length = value.parse().unwrap_or(0),
            "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
            _ => {}
        }
    }
    if chunked {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            request.body.extend_from_slice(&chunk[..size]);
        }
    } else {
        request.body = vec![0; length];
        reader.read_exact(&mut request.body)?;
    }
    Ok(Some(request))
}
