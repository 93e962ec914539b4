//! What all legs of a shard have in common: one certificate, the DTLS configurations made from it, and where
//! clients can send to.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtc::crypto::{RTCCrypto, RTCCryptoProvider};
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;

/// Made once per shard: a configuration costs a key and a certificate.
pub struct LegShared {
    pub(super) provider: Arc<dyn RTCCryptoProvider>,
    pub(super) gcm: Arc<HandshakeConfig>,
    pub(super) sha1: Arc<HandshakeConfig>,
    /// `sha-256 AA:BB:…`.
    pub(super) fingerprint: String,
    /// `candidate:…` of each address.
    candidates: Mutex<Arc<[String]>>,
    rng: Mutex<StdRng>,
}

/// The cryptography could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up DTLS for viewers: {0}")]
pub struct LegSharedError(String);

impl LegShared {
    /// Makes a certificate; clients are told to send to `addresses`.
    ///
    /// # Errors
    /// When no key or certificate can be made.
    pub fn new(addresses: &[SocketAddr]) -> Result<Arc<Self>, LegSharedError> {
        Self::with_rng(addresses, StdRng::from_os_rng())
    }

    /// The same with given random numbers (names and passwords only, never keys): for simulations.
    ///
    /// # Errors
    /// When no key or certificate can be made.
    pub fn with_rng(addresses: &[SocketAddr], rng: StdRng) -> Result<Arc<Self>, LegSharedError> {
        let fail = |error: &dyn std::fmt::Display| LegSharedError(error.to_string());
        let provider = rtc::crypto::default_provider().map_err(|error| fail(&error))?;
        let certificate = Certificate::generate_self_signed(vec!["reelay".to_owned()], provider.crypto())
            .map_err(|error| fail(&error))?;
        let der = certificate.certificate.first().ok_or_else(|| fail(&"no certificate"))?;
        let fingerprint = format!("sha-256 {}", hex(ring::digest::digest(&ring::digest::SHA256, der).as_ref()));
        // rtc-dtls takes the client's first profile, and Chromium lists the dearer SHA1 first: a client that can do
        // GCM gets a server that can do nothing else.
        let config = |profile| {
            ConfigBuilder::default()
                .with_crypto_provider(provider.clone())
                .with_certificates(vec![certificate.clone()])
                .with_srtp_protection_profiles(vec![profile])
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                .with_insecure_skip_verify(true)
                .with_extended_master_secret(ExtendedMasterSecretType::Require)
                .build(false, None)
                .map(Arc::new)
                .map_err(|error| fail(&error))
        };
        Ok(Arc::new(Self {
            gcm: config(SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm)?,
            sha1: config(SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80)?,
            fingerprint,
            candidates: Mutex::new(candidates(addresses)),
            rng: Mutex::new(rng),
            provider,
        }))
    }

    /// Clients are told to send to `addresses` from now on.
    pub fn set_addresses(&self, addresses: &[SocketAddr]) {
        *self.candidates.lock().unwrap_or_else(PoisonError::into_inner) = candidates(addresses);
    }

    pub(super) fn candidates(&self) -> Arc<[String]> {
        self.candidates.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn crypto(&self) -> &dyn RTCCrypto {
        self.provider.crypto()
    }

    /// A generator of its own for each leg.
    pub(super) fn rng(&self) -> StdRng {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        StdRng::from_seed(rng.random())
    }
}

/// `AA:BB:…`.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for (at, byte) in bytes.iter().enumerate() {
        let colon = if at == 0 { "" } else { ":" };
        // Writing to a String cannot fail.
        let _ = write!(text, "{colon}{byte:02X}");
    }
    text
}

fn candidates(addresses: &[SocketAddr]) -> Arc<[String]> {
    addresses.iter().enumerate().map(|(at, address)| candidate(at, address)).collect()
}

// Priority by RFC 8445 §5.1.2: host candidates, earlier addresses preferred.
fn candidate(at: usize, address: &SocketAddr) -> String {
    let priority = (126u32 << 24) | ((65_535 - at.min(65_535) as u32) << 8) | 255;
    format!("candidate:{} 1 udp {priority} {} {} typ host", at + 1, address.ip(), address.port())
}
