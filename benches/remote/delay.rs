//! The proxy of the remote tests as a program, for benchmarks: `rustc -O delay.rs && ./delay PORT MILLISECONDS` listens in
//! front of an HTTP server on PORT and adds that much to every request. It prints its own port and then, for every line
//! on its standard input, how many requests came since the last. It ends with its input.

#![allow(dead_code)] // the tests use the rest

#[path = "../../tests/remote/http.rs"]
mod http;
#[path = "../../tests/remote/proxy.rs"]
mod proxy;
#[path = "../../tests/remote/weather.rs"]
mod weather;

use std::time::Duration;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u16>().expect("a number"));
    let (port, latency) = (numbers.next().expect("PORT"), numbers.next().expect("MILLISECONDS"));
    let latency = Duration::from_millis(latency.into());
    let proxy = proxy::Proxy::http(port, weather::Weather { latency, ..Default::default() });
    println!("{}", proxy.port());
    for _ in std::io::stdin().lines() {
        println!("{}", proxy.take_requests().len());
    }
}
