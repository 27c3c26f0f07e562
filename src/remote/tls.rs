//! The cryptography behind TLS: ring, which compiles in seconds where aws-lc needs a C build of a minute on two cores.

/// Makes ring the provider of every TLS client of this process. Every place that builds an HTTP client calls it first;
/// later calls change nothing.
pub fn install_provider() {
    // An error says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
