//! Accepts connections until the server is asked to stop, then drains: it says that it is not ready, goes on answering, and
//! asks clients to connect elsewhere; then it empties the queue of connections and ends when all are answered.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::listen::Listeners;
use super::respond::respond;
use super::state::ServerState;
use crate::error::{Error, Result};
use crate::event::StopSignal;

/// The time for the headers of a request; also how long a connection may be idle.
const HEADER_TIME: Duration = Duration::from_secs(30);
/// The time that sent bytes may wait for a client that does not read.
const SEND_TIME: u32 = 30_000;
/// The largest head of a request, in bytes.
const HEAD: usize = 64 << 10;
const HEADERS: usize = 100;
/// Further connections wait in the queue of the system.
const CONNECTIONS: usize = 4096;
/// How often the signal is looked at.
const TICK: Duration = Duration::from_millis(20);
const SIGINT: i32 = 2;

/// The phases of a server, as its tasks see them.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Phase {
    Serving,
    /// No more connections are accepted.
    Closing,
    /// Idle connections are closed, others after their answer.
    Ending,
}

/// Serves until a signal, or until `is_done`; returns after the last answer.
///
/// Errors: the system gives no sockets or threads.
pub fn run(
    state: &Arc<ServerState>,
    listeners: Listeners,
    drain: Duration,
    stop: StopSignal,
    is_done: &dyn Fn() -> bool,
) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = runtime.map_err(|e| Error::io("start", "the server", e))?;
    let served = runtime.block_on(serve(state, listeners, drain, stop, is_done));
    // A run of a model that has not ended does not hold up the end of the process.
    runtime.shutdown_timeout(Duration::from_millis(200));
    served
}

async fn serve(
    state: &Arc<ServerState>,
    listeners: Listeners,
    drain: Duration,
    stop: StopSignal,
    is_done: &dyn Fn() -> bool,
) -> Result<()> {
    let (phase, _) = watch::channel(Phase::Serving);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let are_inherited = listeners.are_inherited;
    let mut acceptors = Vec::new();
    for socket in listeners.sockets {
        let socket = TcpListener::from_std(socket).map_err(|e| Error::io("listen on", "a socket", e))?;
        acceptors.push(tokio::spawn(accept(socket, are_inherited, state.clone(), room.clone(), phase.clone())));
    }
    while stop.signal().is_none() && !is_done() {
        sleep(TICK).await;
    }
    state.is_stopping.store(true, Ordering::SeqCst);
    if are_inherited {
        // Another process accepts from the same socket.
        phase.send_replace(Phase::Closing);
    }
    let is_alone = || state.connections.load(Ordering::SeqCst) == 0;
    let is_early = are_inherited || stop.signal() == Some(SIGINT) || is_done();
    wait_until(drain, &|| is_early && is_alone()).await;
    phase.send_replace(Phase::Closing);
    for acceptor in acceptors {
        let _ = acceptor.await;
    }
    phase.send_replace(Phase::Ending);
    wait_until(state.limits.time, &is_alone).await;
    state.is_stopped.store(true, Ordering::SeqCst);
    Ok(())
}

async fn wait_until(most: Duration, is_over: &dyn Fn() -> bool) {
    let started = Instant::now();
    while started.elapsed() < most && !is_over() {
        sleep(TICK).await;
    }
}

/// Accepts until the phase changes, then what is still in the queue, unless another process accepts that.
async fn accept(
    socket: TcpListener,
    is_inherited: bool,
    state: Arc<ServerState>,
    room: Arc<Semaphore>,
    phase: watch::Sender<Phase>,
) {
    let mut changes = phase.subscribe();
    loop {
        let next = async {
            let place = room.clone().acquire_owned().await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>((socket.accept().await?.0, place))
        };
        let accepted = tokio::select! {
            accepted = next => accepted,
            _ = changes.wait_for(|phase| *phase > Phase::Serving) => break,
        };
        match accepted {
            Ok((stream, place)) => start(stream, &state, &phase, place),
            // No more files, for one.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
    while !is_inherited && let Ok(Ok((stream, _))) = timeout(Duration::from_millis(1), socket.accept()).await {
        let Ok(place) = room.clone().try_acquire_owned() else { return };
        start(stream, &state, &phase, place);
    }
}

fn start(
    stream: TcpStream,
    state: &Arc<ServerState>,
    phase: &watch::Sender<Phase>,
    place: tokio::sync::OwnedSemaphorePermit,
) {
    state.connections.fetch_add(1, Ordering::SeqCst);
    let (shared, phase) = (state.clone(), phase.subscribe());
    tokio::spawn(async move {
        connection(stream, &shared, phase).await;
        shared.connections.fetch_sub(1, Ordering::SeqCst);
        drop(place);
    });
}

/// Serves the requests of a connection. Its errors are the client's.
async fn connection(stream: TcpStream, state: &Arc<ServerState>, mut phase: watch::Receiver<Phase>) {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, SEND_TIME);
    let service = service_fn(|request| respond(state.clone(), request));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_headers(HEADERS).max_buf_size(HEAD);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        _ = connection.as_mut() => true,
        _ = phase.wait_for(|phase| *phase == Phase::Ending) => false,
    };
    if !ended {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}
