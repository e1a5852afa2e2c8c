//! A network that can fail: a TCP proxy between two parts.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};

use crate::ports::Port;

const CHUNK: usize = 16 * 1024;
/// Longest wait for an address that was given up a moment ago.
const FREE: Duration = Duration::from_secs(10);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(5);
/// Chunks under way in one direction of one connection.
const UNDER_WAY: usize = 64;

/// Passes connections on to one address, until it is told otherwise. It belongs to the runtime that it is started in.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    network: watch::Sender<Network>,
    listening: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug)]
struct Network {
    state: State,
    delay: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Whole,
    Cut,
    Refusing,
}

impl Proxy {
    /// Starts one to this address.
    pub async fn to(target: SocketAddr) -> Self {
        let port = Port::claim();
        let (network, changes) = watch::channel(Network { state: State::Whole, delay: Duration::ZERO });
        let (heard, listening) = watch::channel(false);
        let task = tokio::spawn(listen(port.address(), target, changes, heard));
        let proxy = Self { port, network, listening, task };
        proxy.is_listening(true).await;
        proxy
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Cuts the wire: on connections that exist and on new ones, bytes are neither delivered nor refused.
    pub fn cut(&self) {
        self.network.send_modify(|network| network.state = State::Cut);
    }

    /// Closes all connections and refuses new ones, as a machine does on which nothing listens.
    pub async fn refuse(&self) {
        self.network.send_modify(|network| network.state = State::Refusing);
        self.is_listening(false).await;
    }

    /// Mends it. What a cut held up is delivered.
    pub async fn heal(&self) {
        self.network.send_modify(|network| network.state = State::Whole);
        self.is_listening(true).await;
    }

    /// Delivers everything this much later from now on, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.network.send_modify(|network| network.delay = delay);
    }

    async fn is_listening(&self, wanted: bool) {
        let mut listening = self.listening.clone();
        let seen = listening.wait_for(|&listens| listens == wanted).await;
        assert!(seen.is_ok(), "the proxy at {} ended", self.address());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(
    own: SocketAddr,
    target: SocketAddr,
    mut changes: watch::Receiver<Network>,
    heard: watch::Sender<bool>,
) {
    let network = changes.clone();
    while changes.wait_for(|network| network.state != State::Refusing).await.is_ok() {
        let listener = bind(own).await;
        heard.send_replace(true);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(pass(stream, target, network.clone()));
                    }
                    Err(error) => panic!("the proxy at {own}: {error}"),
                },
                Some(_) = connections.join_next() => {}
                _ = changes.wait_for(|network| network.state == State::Refusing) => break,
            }
        }
        drop(listener);
        connections.shutdown().await;
        heard.send_replace(false);
    }
}

/// Listens again. A process that is being started has our last listener open until it becomes another program.
async fn bind(own: SocketAddr) -> TcpListener {
    let deadline = Instant::now() + FREE;
    loop {
        match TcpListener::bind(own).await {
            Ok(listener) => return listener,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                sleep(AGAIN).await;
            }
            Err(error) => panic!("the proxy at {own}: {error}"),
        }
    }
}

/// Passes one connection on until both sides have ended, or one has failed.
async fn pass(near: TcpStream, target: SocketAddr, mut network: watch::Receiver<Network>) -> io::Result<()> {
    whole(&mut network).await?;
    let far = TcpStream::connect(target).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::try_join!(direction(near_in, far_out, network.clone()), direction(far_in, near_out, network))?;
    Ok(())
}

/// One direction: bytes, and the end of them, arrive in order and no sooner than the network lets them.
async fn direction(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    network: watch::Receiver<Network>,
) -> io::Result<()> {
    let (send, mut receive) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let mut state = network.clone();
    let reading = async move {
        loop {
            let mut chunk = vec![0; CHUNK];
            let length = from.read(&mut chunk).await?;
            chunk.truncate(length);
            let due = Instant::now() + network.borrow().delay;
            if send.send((due, chunk)).await.is_err() || length == 0 {
                return io::Result::Ok(());
            }
        }
    };
    let writing = async move {
        while let Some((due, chunk)) = receive.recv().await {
            sleep_until(due).await;
            whole(&mut state).await?;
            if chunk.is_empty() {
                break;
            }
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(reading, writing)?;
    Ok(())
}

/// Waits until bytes may pass.
async fn whole(network: &mut watch::Receiver<Network>) -> io::Result<()> {
    match network.wait_for(|network| network.state == State::Whole).await {
        Ok(_) => Ok(()),
        Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
    }
}
