//! The proxy itself, before anything is concluded from what it does.

use super::*;

/// Answers every request with its body, or with 1000 bytes where it has none.
fn server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || -> io::Result<()> {
                let mut from = BufReader::new(&client);
                while let Some(head) = Head::read(&mut from)? {
                    let mut body = vec![b'x'; 1000];
                    if let Body::Length(n) = head.body() {
                        body.resize(n as usize, 0);
                        from.read_exact(&mut body)?;
                    }
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    (&client).write_all(&[head.as_bytes(), &body].concat())?;
                }
                Ok(())
            });
        }
    });
    port
}

/// Status and body, or that the connection ended too early.
fn ask(proxy: &Proxy, body: &str) -> io::Result<(String, Vec<u8>)> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port()))?;
    let request = format!("PUT /thing HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    (&stream).write_all(request.as_bytes())?;
    let mut from = BufReader::new(&stream);
    let head = Head::read(&mut from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut body = Vec::new();
    if let Body::Length(n) = head.body() {
        body.resize(n as usize, 0);
        from.read_exact(&mut body)?;
    }
    Ok((head.status().to_string(), body))
}

#[test]
fn each_fault_is_what_it_says() {
    let upstream = server();
    let always = |set: fn(&mut Weather)| {
        let mut weather = Weather::default();
        set(&mut weather);
        Proxy::http(upstream, weather)
    };
    let status = |proxy: &Proxy| ask(proxy, "").unwrap().0;
    assert_eq!(status(&always(|_| {})), "200");
    assert_eq!(status(&always(|w| w.unavailable = 1000)), "503");
    assert_eq!(status(&always(|w| w.too_many = 1000)), "429");
    assert_eq!(status(&always(|w| (w.unavailable, w.on) = (1000, "/other"))), "200");
    assert_eq!(ask(&always(|w| w.truncated = 1000), "").unwrap().1.len(), 500);
    let corrupted = ask(&always(|w| w.corrupted = 1000), "").unwrap().1;
    assert_eq!((corrupted.len(), corrupted.iter().filter(|b| **b != b'x').count()), (1000, 1));
    let dropping = always(|w| w.dropped = 1000);
    for body in ["", "0123456789"] {
        for _ in 0..8 {
            assert!(ask(&dropping, body).is_err());
        }
    }
    let late = always(|w| w.latency = Duration::from_millis(50));
    let started = Instant::now();
    assert_eq!(status(&late), "200");
    assert!(started.elapsed() >= Duration::from_millis(100));
}

#[test]
fn a_share_is_drawn_the_same_way_for_the_same_seed() {
    let fates = |seed| -> Vec<Fate> {
        let weather = Weather { seed, unavailable: 200, dropped: 100, ..Weather::default() };
        (0..1000).map(|n| weather.fate(n, "GET / HTTP/1.1")).collect()
    };
    assert_eq!(fates(1), fates(1));
    assert_ne!(fates(1), fates(2));
    let count = |of: fn(&Fate) -> bool| fates(1).iter().filter(|f| of(f)).count();
    assert!((150..250).contains(&count(|f| matches!(f, Fate::Refused(_)))));
    assert!((60..140).contains(&count(|f| matches!(f, Fate::RequestDropped | Fate::AnswerDropped))));
}

#[test]
fn a_transfer_is_counted_held_and_let_go() {
    let proxy = Proxy::http(server(), Weather::default());
    ask(&proxy, "0123456789").unwrap();
    assert_eq!(proxy.take_requests(), ["PUT /thing HTTP/1.1"]);
    assert_eq!(proxy.bytes(), (10, 10));
    proxy.hold_after(5);
    thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&proxy, "0123456789"));
        assert!(proxy.is_held(Duration::from_secs(10)));
        assert!(!asking.is_finished());
        proxy.release();
        assert_eq!(asking.join().unwrap().unwrap().0, "200");
    });
    proxy.hold_after(5);
    thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&proxy, "0123456789"));
        assert!(proxy.is_held(Duration::from_secs(10)));
        proxy.cut();
        assert!(asking.join().unwrap().is_err());
        proxy.release();
    });
}

#[test]
fn what_is_not_http_passes_too() {
    let proxy = Proxy::raw(server());
    assert_eq!(ask(&proxy, "abc").unwrap().1, b"abc");
    assert!(proxy.take_requests().is_empty());
    assert!(proxy.bytes().0 > 10);
}
