use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use h2::server::{self, Connection, SendResponse};
use http::{Request, Response};
use tokio::io::{DuplexStream, ReadBuf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::super::failure::{Phase, classify};
use super::*;
use crate::delivery;

/// Far more than it takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// For what is not to happen.
const MOMENT: Duration = Duration::from_millis(100);
/// Never, for these tests.
const NEVER: Pings = Pings { interval: Duration::from_hours(1), timeout: Duration::from_hours(1) };
const OFTEN: Pings = Pings { interval: Duration::from_millis(20), timeout: Duration::from_millis(200) };

type Far = Connection<DuplexStream, Bytes>;
type Got = (Request<RecvStream>, SendResponse<Bytes>);
type Act = Box<dyn FnOnce(&mut Far) + Send>;

/// A socket that counts its writes.
struct Counted(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A receiver whose connection is driven.
struct Receiver {
    requests: UnboundedReceiver<Got>,
    acts: UnboundedSender<Act>,
    driving: JoinHandle<()>,
}

impl Receiver {
    fn new(mut far: Far) -> Self {
        let (requests, got) = unbounded_channel();
        let (acts, mut asked) = unbounded_channel::<Act>();
        let driving = tokio::spawn(async move {
            loop {
                tokio::select! {
                    act = asked.recv() => match act {
                        Some(act) => act(&mut far),
                        None => return,
                    },
                    request = far.accept() => match request {
                        Some(Ok(request)) => drop(requests.send(request)),
                        _ => return,
                    },
                }
            }
        });
        Self { requests: got, acts, driving }
    }

    /// The next request.
    async fn next(&mut self) -> Got {
        soon(self.requests.recv()).await.expect("the connection has ended")
    }

    async fn assert_quiet(&mut self) {
        assert!(timeout(MOMENT, self.requests.recv()).await.is_err(), "a request came");
    }

    fn act(&self, act: impl FnOnce(&mut Far) + Send + 'static) {
        self.acts.send(Box::new(act)).unwrap();
    }
}

/// A connection to a receiver that takes so many streams at once, with a window of so many bytes for each, both of which are known.
async fn pair(pings: Pings, streams: u32, window: u32) -> (Arc<Http2>, Receiver) {
    pair_by(|near| near, pings, streams, window).await
}

/// The same by a socket made of one.
async fn pair_by<S>(
    socket: impl FnOnce(DuplexStream) -> S,
    pings: Pings,
    streams: u32,
    window: u32,
) -> (Arc<Http2>, Receiver)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (near, far) = tokio::io::duplex(64 * 1024);
    let near = socket(near);
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(streams).initial_window_size(window);
    let (client, far) = tokio::join!(Http2::open(near, Record::default(), pings), builder.handshake(far));
    let (client, mut receiver) = (client.unwrap(), Receiver::new(far.unwrap()));
    let first = begin(&client, post(""));
    ok(receiver.next().await.1);
    assert!(soon(first).await.unwrap().is_ok());
    (client, receiver)
}

fn post(body: impl Into<Bytes>) -> Sent {
    Request::post("https://a.example/x").body(Full::new(body.into())).unwrap()
}

fn begin(client: &Arc<Http2>, request: Sent) -> JoinHandle<Answered> {
    let client = Arc::clone(client);
    tokio::spawn(async move { client.answer(request).await })
}

fn ok(mut respond: SendResponse<Bytes>) {
    respond.send_response(Response::new(()), true).unwrap();
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it takes too long")
}

async fn length(request: Request<RecvStream>) -> Result<usize, h2::Error> {
    let (mut body, mut read) = (request.into_body(), 0);
    while let Some(data) = soon(body.data()).await {
        let data = data?;
        read += data.len();
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(read)
}

fn reason(error: &BoxError) -> delivery::Reason {
    classify("a.example", Phase::Head, &**error).reason
}

#[tokio::test]
async fn exchanges_that_begin_together_are_one_write() {
    let writes = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&writes);
    let (client, mut receiver) = pair_by(|near| Counted(near, counted), NEVER, 100, 1024).await;
    let before = writes.load(Ordering::Relaxed);
    let exchanges: Vec<_> = (0..20).map(|_| begin(&client, post("x".repeat(600)))).collect();
    for _ in &exchanges {
        let (request, respond) = receiver.next().await;
        assert_eq!(length(request).await.unwrap(), 600);
        ok(respond);
    }
    for exchange in exchanges {
        assert!(soon(exchange).await.unwrap().is_ok());
    }
    // One more where the receiver's settings or windows are answered.
    assert!(writes.load(Ordering::Relaxed) - before <= 2, "{before} before, {writes:?} now");
}

#[tokio::test]
async fn no_more_streams_are_open_than_the_receiver_takes_and_all_have_their_turn() {
    for body in ["", "body"] {
        let (client, mut receiver) = pair(NEVER, 1, 1024).await;
        let exchanges: Vec<_> = (0..4).map(|_| begin(&client, post(body))).collect();
        for exchange in exchanges {
            let (request, respond) = receiver.next().await;
            assert_eq!(length(request).await.unwrap(), body.len());
            receiver.assert_quiet().await;
            ok(respond);
            assert!(soon(exchange).await.unwrap().is_ok());
        }
    }
}

#[tokio::test]
async fn exchanges_that_began_before_the_receiver_took_fewer_leave_no_more_places_than_it_takes() {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let client = Http2::open(near, Record::default(), NEVER).await.unwrap();
    // Nothing was read of the receiver yet: all take places, and more wait.
    let exchanges: Vec<_> = (0..EARLY_STREAMS_MAX + 4).map(|_| begin(&client, post("early"))).collect();
    tokio::task::yield_now().await;
    let far = server::Builder::new().max_concurrent_streams(2).handshake(far).await.unwrap();
    let mut receiver = Receiver::new(far);
    let mut answered = 0;
    for exchange in exchanges {
        let asked = tokio::select! {
            (_request, respond) = receiver.next() => Some(respond),
            () = sleep(MOMENT) => None,
        };
        if let Some(respond) = asked {
            ok(respond);
        }
        answered += usize::from(soon(exchange).await.unwrap().is_ok());
    }
    assert!(answered > 0);
    assert_eq!(*client.state.places_made(), 2);
    let last: Vec<_> = (0..3).map(|_| begin(&client, post("late"))).collect();
    let begun = [receiver.next().await, receiver.next().await];
    receiver.assert_quiet().await;
    for (_request, respond) in begun {
        ok(respond);
    }
    for (n, exchange) in last.into_iter().enumerate() {
        if n == 2 {
            ok(receiver.next().await.1);
        }
        assert!(soon(exchange).await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn whoever_gives_up_while_it_waits_for_a_stream_keeps_nobody_from_one() {
    for (streams, body) in [(1, ""), (1, "body"), (2, "body")] {
        let (client, mut receiver) = pair(NEVER, streams, 1024).await;
        let slow: Vec<_> = (0..streams).map(|_| begin(&client, post("slow"))).collect();
        let mut begun = Vec::new();
        for _ in 0..streams {
            begun.push(receiver.next().await);
        }
        let waiting: Vec<_> = (0..3).map(|_| begin(&client, post(body))).collect();
        receiver.assert_quiet().await;
        for exchange in waiting {
            exchange.abort();
            assert!(soon(exchange).await.is_err());
        }
        let last = begin(&client, post("of the last"));
        for ((_request, respond), slow) in begun.into_iter().zip(slow) {
            ok(respond);
            assert!(soon(slow).await.unwrap().is_ok());
        }
        let (request, respond) = receiver.next().await;
        assert_eq!(length(request).await.unwrap(), "of the last".len(), "one that was given up had a stream");
        ok(respond);
        assert!(soon(last).await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn what_waits_for_a_stream_when_the_receiver_goes_away_comes_back_whole() {
    let (client, mut receiver) = pair(NEVER, 1, 1024).await;
    let slow = begin(&client, post("slow"));
    let (_request, respond) = receiver.next().await;
    let waiting: Vec<_> = (0..3).map(|_| begin(&client, post("wait"))).collect();
    receiver.assert_quiet().await;
    receiver.act(Connection::graceful_shutdown);
    sleep(MOMENT).await;
    ok(respond);
    for exchange in waiting {
        let failed = soon(exchange).await.unwrap().err().unwrap();
        assert_eq!(reason(&failed.error), delivery::Reason::ConnectionReset);
        assert!(failed.unsent.is_some_and(|request| request.uri() == "https://a.example/x"));
    }
    assert!(!client.is_open());
    assert!(soon(slow).await.unwrap().is_ok(), "what the receiver has taken up is answered");
    soon(receiver.driving).await.unwrap();
}

#[tokio::test]
async fn a_body_larger_than_every_window_arrives_whole() {
    const LENGTH: usize = 3 * 1024 * 1024 + 7;
    let (client, mut receiver) = pair(NEVER, 100, 1024).await;
    let exchange = begin(&client, post(vec![7; LENGTH]));
    let (request, respond) = receiver.next().await;
    assert_eq!(request.headers()[CONTENT_LENGTH], LENGTH.to_string());
    assert_eq!(length(request).await.unwrap(), LENGTH);
    ok(respond);
    assert!(soon(exchange).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_body_that_nobody_wants_yet_is_sent_while_the_answer_is_read() {
    let (client, mut receiver) = pair(NEVER, 100, 0).await;
    let exchange = begin(&client, post("later"));
    let (request, mut respond) = receiver.next().await;
    let mut answer = respond.send_response(Response::new(()), false).unwrap();
    let Body::Http2(mut body) = soon(exchange).await.unwrap().ok().unwrap().into_body() else { panic!("not HTTP/2") };
    let reading = tokio::spawn(async move { poll_fn(|cx| body.poll_frame(cx)).await });
    sleep(MOMENT).await;
    receiver.act(|far| far.set_initial_window_size(1024).unwrap());
    assert_eq!(length(request).await.unwrap(), "later".len());
    answer.send_data("read".into(), true).unwrap();
    assert_eq!(soon(reading).await.unwrap().unwrap().unwrap().into_data().unwrap(), "read");
}

#[tokio::test]
async fn an_exchange_that_is_dropped_resets_its_stream_wherever_it_is() {
    let (client, mut receiver) = pair(NEVER, 100, 1024).await;
    // Before its answer, with a body of which nothing was taken, some, or all.
    for body in [0, 10, 100 * 1024] {
        let exchange = begin(&client, post(vec![7; body]));
        let (_request, mut respond) = receiver.next().await;
        exchange.abort();
        assert_eq!(soon(poll_fn(|cx| respond.poll_reset(cx))).await.unwrap(), Reason::CANCEL);
    }
    // In the middle of its answer.
    for body in [10, 100 * 1024] {
        let exchange = begin(&client, post(vec![7; body]));
        let (_request, mut respond) = receiver.next().await;
        let mut answer = respond.send_response(Response::new(()), false).unwrap();
        drop(soon(exchange).await.unwrap().ok().unwrap());
        assert_eq!(soon(poll_fn(|cx| answer.poll_reset(cx))).await.unwrap(), Reason::CANCEL);
    }
    assert!(client.is_open());
}

#[tokio::test]
async fn a_stream_that_the_receiver_resets_fails_alone_also_while_its_body_is_sent() {
    let (client, mut receiver) = pair(NEVER, 100, 1024).await;
    for body in [0, 100 * 1024] {
        let other = begin(&client, post("other"));
        let (_other, respond) = receiver.next().await;
        let exchange = begin(&client, post(vec![7; body]));
        let (_request, mut reset) = receiver.next().await;
        reset.send_reset(Reason::INTERNAL_ERROR);
        let failed = soon(exchange).await.unwrap().err().unwrap();
        assert_eq!(reason(&failed.error), delivery::Reason::ConnectionReset);
        assert!(failed.unsent.is_none());
        ok(respond);
        assert!(soon(other).await.unwrap().is_ok() && client.is_open());
    }
}

#[tokio::test]
async fn a_receiver_that_answers_pings_has_all_the_time_of_an_exchange() {
    let (client, mut receiver) = pair(OFTEN, 100, 1024).await;
    let slow = begin(&client, post("slow"));
    let (_request, respond) = receiver.next().await;
    sleep(OFTEN.interval * 4 + OFTEN.timeout * 2).await;
    ok(respond);
    assert!(soon(slow).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_dead_receiver_is_found_out_by_an_exchange_alone() {
    let (near, _far) = tokio::io::duplex(64 * 1024);
    let client = Http2::open(near, Record::default(), OFTEN).await.unwrap();
    sleep(OFTEN.interval * 2 + OFTEN.timeout * 2).await;
    assert!(client.is_open(), "there was nothing to find out");
    let failed = soon(client.answer(post("x"))).await.err().unwrap();
    assert_eq!(reason(&failed.error), delivery::Reason::Timeout);
    assert!(!client.is_open() && failed.unsent.is_none());
    let failed = soon(client.answer(post("x"))).await.err().unwrap();
    assert!(failed.unsent.is_some(), "nothing goes out on it any more");
}

#[tokio::test]
async fn a_connection_that_nobody_has_any_more_ends() {
    let (client, receiver) = pair(NEVER, 100, 1024).await;
    sleep(MOMENT).await;
    assert!(!receiver.driving.is_finished());
    drop(client);
    soon(receiver.driving).await.unwrap();
}

#[test]
fn a_head_has_what_http2_knows_and_a_length_where_one_is_expected() {
    let given = [
        ("connection", "x-hop, close"),
        ("x-hop", "1"),
        ("keep-alive", "5"),
        ("upgrade", "x"),
        ("transfer-encoding", "chunked"),
        ("te", "gzip"),
        ("host", "b.example"),
    ];
    for (method, length, expected) in [
        (Method::POST, 0, Some("0")),
        (Method::POST, 3, Some("3")),
        (Method::GET, 0, None),
        (Method::DELETE, 2, Some("2")),
    ] {
        let mut headers: HeaderMap =
            given.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect();
        adapt(&mut headers, &method, length);
        let told = headers.remove(CONTENT_LENGTH);
        assert_eq!(told.as_ref().map(|told| told.to_str().unwrap()), expected, "{method}");
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["host"]);
    }
}
