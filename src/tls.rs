//! TLS: from own certificate files, or with a small authority of our own for the devices of one network.
//! Knows files and certificates; who listens with them is another's matter.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

/// The authority of `reelay serve --lan`, kept in a folder so that a device trusts it once.
#[derive(Debug, Clone)]
pub struct Lan {
    /// The authority's certificate (DER), to be installed on other devices.
    pub ca: Vec<u8>,
    /// SHA-256 of it, as devices show it.
    pub fingerprint: String,
    /// The secret that signs tokens.
    pub auth_key: String,
    /// The server's certificate chain (PEM).
    cert: String,
    /// The server's private key (PEM).
    key: String,
}

/// What the kept server certificate was made for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    names: Vec<String>,
    until_s: i64,
}

impl Lan {
    /// Opens the authority in `folder`, or makes it; its server certificate names `addresses` and this host.
    ///
    /// # Errors
    /// When the folder cannot be read or written, or holds something else.
    pub fn open(folder: &Path, addresses: &[IpAddr]) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let auth_key = lan_key(folder)?;
        let (ca, issuer) = authority(folder)?;
        let names = names(addresses);
        let (cert, key) = server_certificate(folder, &issuer, names)?;
        let fingerprint = fingerprint(&ca);
        Ok(Self { ca, fingerprint, auth_key, cert, key })
    }

    /// For the listener.
    ///
    /// # Errors
    /// When the kept certificate does not fit its key.
    pub fn server_config(&self) -> anyhow::Result<Arc<ServerConfig>> {
        config(self.cert.as_bytes(), self.key.as_bytes())
    }
}

/// The secret of the authority's folder, made at the first call.
///
/// # Errors
/// When the folder cannot be read or written.
pub fn lan_key(folder: &Path) -> anyhow::Result<String> {
    keep(&folder.join("auth.key"), || Ok(crate::auth::new_key())).map(|key| key.trim().to_owned())
}

/// The listener's configuration from PEM files.
///
/// # Errors
/// When a file cannot be read, or certificate and key do not fit.
pub fn from_files(cert: &Path, key: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
    config(&read(cert)?, &read(key)?).with_context(|| format!("{} and {}", cert.display(), key.display()))
}

fn config(cert: &[u8], key: &[u8]) -> anyhow::Result<Arc<ServerConfig>> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(cert).collect::<Result<_, _>>().context("reading certificates")?;
    anyhow::ensure!(!chain.is_empty(), "there is no certificate in the file");
    let key = PrivateKeyDer::from_pem_slice(key).context("reading the private key")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("certificate and key do not fit")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn authority(folder: &Path) -> anyhow::Result<(Vec<u8>, Issuer<'static, KeyPair>)> {
    let (cert_file, key_file, name_file) = (folder.join("ca.pem"), folder.join("ca.key"), folder.join("ca.name"));
    let key = KeyPair::from_pem(&keep(&key_file, || Ok(KeyPair::generate()?.serialize_pem()))?)?;
    let name = keep(&name_file, || Ok(format!("Reelay on {} ({})", host_name(), &key_id(&key)[..6])))?;
    let params = authority_params(name.trim());
    let pem = keep(&cert_file, || Ok(params.self_signed(&key)?.pem()))?;
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).context("reading the authority's certificate")?;
    Ok((der.to_vec(), Issuer::new(params, key)))
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::days(1), now + Duration::days(3650));
    // Who installs it trusts it for addresses like these only, never for a bank.
    params.name_constraints = Some(NameConstraints { permitted_subtrees: permitted(), excluded_subtrees: Vec::new() });
    params
}

fn permitted() -> Vec<GeneralSubtree> {
    let v4 = PRIVATE_V4.iter().map(|(ip, bits)| CidrSubnet::from_v4_prefix(*ip, *bits));
    let v6 = PRIVATE_V6.iter().map(|(ip, bits)| {
        CidrSubnet::from_v6_prefix(ip.parse::<std::net::Ipv6Addr>().map_or([0; 16], |ip| ip.octets()), *bits)
    });
    let names = ["localhost", "local", "lan", "home.arpa"].map(|name| GeneralSubtree::DnsName(name.to_owned()));
    v4.chain(v6).map(GeneralSubtree::IpAddress).chain(names).collect()
}

/// Addresses that a household or an office gives out, and those of documentation and tests.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => PRIVATE_V4.iter().any(|(net, bits)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(*bits)).unwrap_or(0);
            u32::from(ip) & mask == u32::from_be_bytes(*net) & mask
        }),
        IpAddr::V6(ip) => ip.is_loopback() || ip.segments()[0] & 0xfe00 == 0xfc00,
    }
}

fn names(addresses: &[IpAddr]) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), format!("{}.local", host_name())];
    names.extend(addresses.iter().filter(|ip| is_private(**ip)).map(IpAddr::to_string));
    names.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    names.sort();
    names.dedup();
    names
}

/// The kept certificate while it names the right things, else a new one: a device that made an exception keeps it.
fn server_certificate(
    folder: &Path,
    issuer: &Issuer<'_, KeyPair>,
    names: Vec<String>,
) -> anyhow::Result<(String, String)> {
    let (cert_file, key_file, made_file) =
        (folder.join("server.pem"), folder.join("server.key"), folder.join("server.json"));
    let now = OffsetDateTime::now_utc();
    let made = fs::read(&made_file).ok().and_then(|text| serde_json::from_slice::<Made>(&text).ok());
    let is_good = made.is_some_and(|made| made.names == names && made.until_s > (now + RENEW).unix_timestamp());
    if is_good && let (Ok(cert), Ok(key)) = (fs::read_to_string(&cert_file), fs::read_to_string(&key_file)) {
        return Ok((cert, key));
    }
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Reelay");
    let to_san = |name: &String| match name.parse::<IpAddr>() {
        Ok(ip) => Ok(SanType::IpAddress(ip)),
        Err(_) => name.as_str().try_into().map(SanType::DnsName),
    };
    params.subject_alt_names = names.iter().map(to_san).collect::<Result<_, _>>()?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (now - Duration::days(1), now + LIFE);
    let key = KeyPair::generate()?;
    let cert = params.signed_by(&key, issuer)?.pem();
    let key = key.serialize_pem();
    write_secret(&key_file, &key)?;
    fs::write(&cert_file, &cert)?;
    let made = Made { names, until_s: params.not_after.unix_timestamp() };
    fs::write(&made_file, serde_json::to_string(&made)?)?;
    Ok((cert, key))
}

/// The text of a file, made and written when it is missing.
fn keep(path: &Path, make: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<String> {
    if path.exists() {
        return fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
    }
    let text = make()?;
    write_secret(path, &text)?;
    Ok(text)
}

/// Writes a file that only its owner may read; it appears whole.
///
/// # Errors
/// What the disk says.
pub fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let part: PathBuf = path.with_extension("part");
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

fn fingerprint(der: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let pairs: Vec<_> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

fn key_id(key: &KeyPair) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, key.public_key_raw());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let first = name.split('.').next().unwrap_or_default().to_lowercase();
    let is_plain = !first.is_empty() && first.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if is_plain { first } else { "reelay".to_owned() }
}

const PRIVATE_V4: &[([u8; 4], u8)] = &[
    ([10, 0, 0, 0], 8),
    ([172, 16, 0, 0], 12),
    ([192, 168, 0, 0], 16),
    ([169, 254, 0, 0], 16),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([192, 0, 2, 0], 24),
];
const PRIVATE_V6: &[(&str, u8)] = &[("fc00::", 7), ("::1", 128)];
// Phones refuse certificates that live longer than 825 days.
const LIFE: Duration = Duration::days(397);
const RENEW: Duration = Duration::days(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authority_is_kept_and_the_certificate_follows_the_addresses() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("lan");
        let open = |ip: &str| Lan::open(&folder, &[ip.parse().unwrap()]).unwrap();
        let first = open("192.168.1.5");
        let again = open("192.168.1.5");
        assert_eq!((&first.ca, &first.cert, &first.auth_key), (&again.ca, &again.cert, &again.auth_key));
        let moved = open("192.168.1.6");
        assert_eq!(first.ca, moved.ca);
        assert_ne!(first.cert, moved.cert);
        assert_eq!(first.fingerprint.len(), 32 * 3 - 1);
        assert!(first.auth_key.len() >= 32);
        moved.server_config().unwrap();
        for secret in ["ca.key", "server.key", "auth.key"] {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(folder.join(secret)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{secret}");
        }
    }

    #[test]
    fn public_addresses_stay_out_of_the_certificate() {
        let names =
            names(&["203.0.113.9".parse().unwrap(), "10.1.2.3".parse().unwrap(), "2001:db8::1".parse().unwrap()]);
        assert!(names.contains(&"10.1.2.3".to_owned()));
        assert!(!names.iter().any(|name| name.starts_with("203.") || name.starts_with("2001:")));
    }

    #[test]
    fn files_that_do_not_fit_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        assert!(from_files(&cert, &key).unwrap_err().to_string().contains("cert.pem"));
        fs::write(&cert, "no certificate").unwrap();
        fs::write(&key, "no key").unwrap();
        assert!(from_files(&cert, &key).is_err());
        let lan = Lan::open(&dir.path().join("lan"), &[]).unwrap();
        fs::write(&cert, &lan.cert).unwrap();
        fs::write(&key, &lan.key).unwrap();
        assert!(from_files(&cert, &key).is_ok());
        fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert!(from_files(&cert, &key).is_err());
    }
}
