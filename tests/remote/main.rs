#![allow(clippy::unwrap_used, clippy::print_stdout)]
#[allow(dead_code)]
mod http;
#[allow(dead_code)]
mod proxy;
