//! `health`: asks the daemon on this machine whether it is alive or ready, for containers and scripts without an HTTP
//! client.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::{CliError, CliResult};
use crate::settings::{HttpSettings, Settings};

/// How long the whole exchange may take. A daemon that works answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// Longest answer that is read; a probe's has a few hundred bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// Ask for readiness: whether the database is writable and the poller runs
    #[arg(long)]
    ready: bool,
}

/// Asks the daemon. Probes need no token, so this reads no secret.
pub(super) async fn health(settings: &Settings, args: HealthArgs) -> CliResult {
    let address = address(&settings.http).map_err(|rule| {
        CliError::unusable(format!("{}: there is no address to ask: {rule}", settings.origin()))
    })?;
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let url = format!("http://{address}{path}");
    let failed = |why: String| CliError::failed(format!("{url}: {why}"));
    let said = match tokio::time::timeout(PATIENCE, ask(address, path)).await {
        Ok(Ok(Some(said))) => said,
        Ok(Ok(None)) => return Err(failed("another program answers there, not pcsid-watch".to_owned())),
        Ok(Err(err)) => return Err(failed(format!("no daemon answers: {err}; is it running?"))),
        Err(_) => return Err(failed(format!("no answer within {} s", PATIENCE.as_secs()))),
    };
    if said.status == 200 {
        return Ok(writeln!(std::io::stdout(), "{url}: {}", said.word)?);
    }
    Err(failed([&[said.word], said.reasons.as_slice()].concat().join(": ")))
}

/// The address of the probes on this machine: `http.metrics_listen`, or else `http.listen`.
fn address(http: &HttpSettings) -> Result<SocketAddr, &'static str> {
    let address = http
        .metrics_listen
        .or(http.listen)
        .ok_or("http.listen and http.metrics_listen are empty; set one of them")?;
    if address.port() == 0 {
        return Err("the port is 0, so that only the daemon knows the real one; choose a fixed port");
    }
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(SocketAddr::new(ip, address.port()))
}

/// Sends the request; `None` if the answer is not a probe's. It is plain HTTP to an address, so there is no TLS or
/// proxy to set up.
async fn ask(address: SocketAddr, path: &str) -> std::io::Result<Option<ProbeAnswer>> {
    let stream = TcpStream::connect(address).await?;
    Ok(exchange(stream, address, path).await)
}

async fn exchange(stream: TcpStream, address: SocketAddr, path: &str) -> Option<ProbeAnswer> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let mut request = hyper::Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = path.parse().ok()?;
    request.headers_mut().insert(HOST, HeaderValue::from_str(&address.to_string()).ok()?);
    let answer = sender.send_request(request).await.ok()?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await.ok()?;
    ProbeAnswer::read(status, &body.to_bytes())
}

/// What a probe said.
#[derive(Debug, PartialEq, Eq)]
struct ProbeAnswer {
    status: u16,
    word: String,
    reasons: Vec<String>,
}

impl ProbeAnswer {
    fn read(status: u16, body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let reasons = body["reasons"].as_array().into_iter().flatten();
        Some(Self {
            status,
            word: body["status"].as_str()?.to_owned(),
            reasons: reasons.filter_map(Value::as_str).map(str::to_owned).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ProbeAnswer, address};
    use crate::settings::HttpSettings;

    fn asked(listen: &str, metrics_listen: &str) -> Result<String, &'static str> {
        let http = HttpSettings {
            listen: listen.parse().ok(),
            hosts: Vec::new(),
            token: None,
            token_min_bytes: 1,
            metrics_listen: metrics_listen.parse().ok(),
        };
        address(&http).map(|address| address.to_string())
    }

    #[test]
    fn the_probes_own_address_is_asked_first_and_every_address_by_loopback() {
        assert_eq!(asked("127.0.0.1:8088", "").unwrap(), "127.0.0.1:8088");
        assert_eq!(asked("127.0.0.1:8088", "0.0.0.0:9188").unwrap(), "127.0.0.1:9188");
        assert_eq!(asked("[::]:8088", "").unwrap(), "[::1]:8088");
        assert_eq!(asked("192.0.2.7:8088", "").unwrap(), "192.0.2.7:8088");
        assert!(asked("", "").is_err());
        assert!(asked("127.0.0.1:0", "").is_err());
    }

    #[test]
    fn only_a_probe_s_answer_is_one() {
        let body = r#"{"status": "not ready", "reasons": ["a", "b"]}"#;
        let reasons = vec!["a".to_owned(), "b".to_owned()];
        let said = ProbeAnswer { status: 503, word: "not ready".to_owned(), reasons };
        assert_eq!(ProbeAnswer::read(503, body.as_bytes()), Some(said));
        assert_eq!(ProbeAnswer::read(200, b"<html>"), None);
        assert_eq!(ProbeAnswer::read(200, b"[]"), None);
    }
}
