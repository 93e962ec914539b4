//! Tokens: JWT with HMAC-SHA-256 and nothing else, over `ring`.

use std::time::Duration;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, get_current_timestamp};
use reelay_signaling::ErrorCode;
use ring::hmac;

use super::{AUDIENCE, Claims, Refusal};

/// Tells `jsonwebtoken` to use `ring`. More than once does no harm.
pub fn install_crypto() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: |algorithm, key| Ok(Box::new(Hs256::new(*algorithm, key.as_bytes())?)),
        verifier_factory: |algorithm, key| Ok(Box::new(Hs256::new(*algorithm, key.try_get_as_bytes()?)?)),
        key_utils: KeyUtils::new_unimplemented(),
    };
    // An error means that it was installed before, by us: nobody else does.
    let _ = PROVIDER.install_default();
}

pub(super) fn write(claims: &Claims, key: &str, max_lifetime: Duration) -> Result<String, Refusal> {
    if claims.exp > get_current_timestamp() + max_lifetime.as_secs() {
        return Err(too_long(max_lifetime));
    }
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(key.as_bytes()))
        .map_err(|error| Refusal::new(ErrorCode::Internal, format!("cannot sign a token: {error}")))
}

pub(super) fn read(token: &str, key: &str, max_lifetime: Duration) -> Result<Claims, Refusal> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refusal::new(ErrorCode::Unauthorized, "the token is too long"));
    }
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_audience(&[AUDIENCE]);
    rules.set_required_spec_claims(&["exp", "aud"]);
    rules.validate_nbf = true;
    rules.leeway = LEEWAY_SECONDS;
    let key = DecodingKey::from_secret(key.as_bytes());
    let claims = match jsonwebtoken::decode::<Claims>(token, &key, &rules) {
        Ok(data) => data.claims,
        Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => {
            return Err(Refusal::new(ErrorCode::TokenExpired, "the token is expired"));
        }
        Err(_) => return Err(Refusal::new(ErrorCode::Unauthorized, "the token is not valid on this server")),
    };
    if claims.exp > get_current_timestamp() + max_lifetime.as_secs() + LEEWAY_SECONDS {
        return Err(too_long(max_lifetime));
    }
    Ok(claims)
}

fn too_long(max_lifetime: Duration) -> Refusal {
    let limit = crate::config::Span(max_lifetime);
    Refusal::new(ErrorCode::Unauthorized, format!("a token may live for {limit} at most (auth.max_lifetime)"))
}

struct Hs256(hmac::Key);

impl Hs256 {
    fn new(algorithm: Algorithm, key: &[u8]) -> Result<Self, Error> {
        if algorithm != Algorithm::HS256 {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        hmac::verify(&self.0, message, signature).map_err(|_| SignatureError::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

const MAX_TOKEN_BYTES: usize = 4 * 1024;
// Clocks of two machines differ a little.
const LEEWAY_SECONDS: u64 = 10;
