//! The cryptography behind TLS: ring, which compiles in seconds where aws-lc needs a C build of a minute on two cores.

/// Makes ring the provider of every TLS client of this process. Every place that builds an HTTP client calls it first;
/// later calls change nothing, and [`http_client`] is one that does.
pub fn install_provider() {
    // An error says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What HTTP clients are built from here: without the provider, building one panics.
pub fn http_client() -> reqwest::ClientBuilder {
    install_provider();
    reqwest::Client::builder()
}
