//! The TLS provider: ring, which compiles in seconds where aws-lc needs a C build of a minute on two cores.

/// Makes ring the provider of every TLS client of this process. Code that builds an HTTP client calls it first, or uses
/// [`http_client`]. Later calls change nothing.
pub fn install_provider() {
    // An error says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The builder for all HTTP clients: without the provider, building a client panics.
pub fn http_client() -> reqwest::ClientBuilder {
    install_provider();
    reqwest::Client::builder()
}
