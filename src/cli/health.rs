//! `health`: asks the daemon beside it how it is, for containers and scripts that have no HTTP client.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{CliError, CliResult};
use crate::settings::{HttpSettings, Settings};

/// Bound on the whole exchange. The daemon answers within milliseconds, or something is wrong with it.
const PATIENCE: Duration = Duration::from_secs(3);

/// Longest answer that is read; a probe's has a few hundred bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// Ask whether the database is writable and the poller runs, not only whether the daemon still moves
    #[arg(long)]
    ready: bool,
}

/// Probes ask for no token, so this reads no secret.
pub(super) async fn health(settings: &Settings, args: HealthArgs) -> CliResult {
    let address = address(&settings.http).map_err(|rule| {
        CliError::unusable(format!("{}: there is no address to ask: {rule}", settings.origin()))
    })?;
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let url = format!("http://{address}{path}");
    let failed = |why: String| CliError::failed(format!("{url}: {why}"));
    let said = match tokio::time::timeout(PATIENCE, ask(address, path)).await {
        Ok(Ok(Some(said))) => said,
        Ok(Ok(None)) => return Err(failed("what answers is no pcsid-watch".to_owned())),
        Ok(Err(err)) => return Err(failed(format!("no daemon answers: {err}; is it running?"))),
        Err(_) => return Err(failed(format!("no answer within {} s", PATIENCE.as_secs()))),
    };
    if said.status == 200 {
        return Ok(writeln!(std::io::stdout(), "{url}: {}", said.word)?);
    }
    Err(failed([&[said.word], said.reasons.as_slice()].concat().join(": ")))
}

/// Where probes are answered on this machine: their own address first.
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

/// Asks, and reads until a whole answer is there; `None`: what came is none.
async fn ask(address: SocketAddr, path: &str) -> std::io::Result<Option<Said>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while stream.read_buf(&mut answer).await? > 0 && answer.len() < MAX_ANSWER_BYTES {
        if let Some(said) = parse(&answer) {
            return Ok(Some(said));
        }
    }
    Ok(None)
}

/// What a probe said.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    status: u16,
    word: String,
    reasons: Vec<String>,
}

fn parse(answer: &[u8]) -> Option<Said> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
    let body: Value = serde_json::from_str(body).ok()?;
    let reasons = body["reasons"].as_array().into_iter().flatten();
    Some(Said {
        status,
        word: body["status"].as_str()?.to_owned(),
        reasons: reasons.filter_map(Value::as_str).map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Said, address, parse};
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
        let said = parse(format!("HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\n{body}").as_bytes());
        let reasons = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(said, Some(Said { status: 503, word: "not ready".to_owned(), reasons }));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n\r\n<html>"), None);
        assert_eq!(parse(b"SSH-2.0"), None);
    }
}
