//! How the files are served: headers, versions, nothing else of the machine, and many readers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use anyhow::{Context, Result, anyhow, bail, ensure};
use lab::{Daemon, Netns, PATIENCE, needs};
use socket2::{Domain, Socket, Type};

use crate::place::api;

const CONFIGURATION: &str = "[router]\nas = 65140\nid = \"192.0.2.10\"\nlisten = []\n[dataplane]\nbackend = \"none\"\n";
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8179);

/// The whole answer to a request, headers in small letters.
fn ask(netns: &Netns, path: &str, headers: &str) -> Result<(String, Vec<u8>)> {
    netns.run(|| {
        let mut stream = TcpStream::connect(SERVER)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("an HTTP answer")?;
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        Ok((head, answer[end + 4..].to_vec()))
    })
}

#[test]
fn files_come_with_what_keeps_others_out_and_nothing_else_is_served() -> Result<()> {
    needs!(root, "ip");
    let netns = Netns::new("page")?;
    let mut daemon = Daemon::start_with_api(&netns, CONFIGURATION, &api())?;
    let (head, plain) = ask(&netns, "/", "")?;
    ensure!(head.starts_with("http/1.1 200") && plain.starts_with(b"<!doctype html>"), "{head}");
    for header in [
        "content-type: text/html; charset=utf-8",
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "x-frame-options: deny",
        "cache-control: no-cache",
    ] {
        ensure!(head.contains(header), "{header} is not in {head}");
    }
    ensure!(!head.contains("unsafe-") && !head.contains("content-encoding"), "{head}");

    let (head, compressed) = ask(&netns, "/page/style.css", "accept-encoding: gzip, br\r\n")?;
    ensure!(head.contains("content-encoding: gzip") && head.contains("content-type: text/css"), "{head}");
    ensure!(compressed.starts_with(&[0x1f, 0x8b]), "not gzip");
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).context("an ETag")?.replace("w/", "W/");
    let (head, body) = ask(&netns, "/page/style.css", &format!("if-none-match: {etag}\r\n"))?;
    ensure!(head.starts_with("http/1.1 304") && body.is_empty(), "{head}");

    for path in [
        "/page/../../../etc/passwd",
        "/page/..%2f..%2f..%2fetc%2fpasswd",
        "/page/%2e%2e/%2e%2e/etc/passwd",
        "/page//etc/passwd",
        "/page/etc/passwd",
        "/page/views/",
        "/page/",
        "/page/views/../app.js",
        "//page/app.js",
        "/index.html",
        "/page/app.js%00.css",
    ] {
        let (head, body) = ask(&netns, path, "")?;
        ensure!(head.starts_with("http/1.1 404"), "{path}: {head}");
        ensure!(!String::from_utf8_lossy(&body).contains("root:"), "{path}");
    }

    // Off means off, at once.
    daemon.configure(&format!("{CONFIGURATION}\n[log]\nlevel = \"info\"\n"))?;
    let text = std::fs::read_to_string(daemon.configuration())?;
    std::fs::write(daemon.configuration(), text.replace("[api]\n", "[api]\npage = false\n"))?;
    daemon.cli(&["reload"])?;
    for path in ["/", "/page/app.js"] {
        let (head, _) = ask(&netns, path, "")?;
        ensure!(head.starts_with("http/1.1 404"), "{path}: {head}");
    }
    ensure!(ask(&netns, "/v1/status", "")?.0.starts_with("http/1.1 200"), "the API is gone with the page");
    let status = daemon.stop()?;
    ensure!(status.success(), "{status}");
    Ok(())
}

/// One open page: a connection that is kept, as browsers do.
struct Reader {
    address: Ipv4Addr,
    stream: Option<TcpStream>,
}

impl Reader {
    /// Asks for the status, again on a new connection if the old one was closed.
    fn ask(&mut self) -> Result<()> {
        for _ in 0..2 {
            let stream = match self.stream.take() {
                Some(stream) => stream,
                None => {
                    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                    socket.bind(&SocketAddr::new(self.address.into(), 0).into())?;
                    socket.connect_timeout(&SERVER.into(), PATIENCE)?;
                    socket.set_read_timeout(Some(PATIENCE))?;
                    socket.into()
                }
            };
            if let Some(keep) = Self::answered(&stream)? {
                self.stream = keep.then_some(stream);
                return Ok(());
            }
        }
        bail!("no answer for {}", self.address)
    }

    /// Whether the connection is kept after the answer; `None` if it was closed before.
    fn answered(mut stream: &TcpStream) -> Result<Option<bool>> {
        if stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n").is_err() {
            return Ok(None);
        }
        let mut answer = Vec::new();
        let mut part = [0; 16 * 1024];
        loop {
            match stream.read(&mut part) {
                Ok(0) | Err(_) if answer.is_empty() => return Ok(None),
                Ok(0) => bail!("the answer broke off"),
                Ok(count) => answer.extend_from_slice(&part[..count]),
                Err(error) => return Err(error.into()),
            }
            let text = String::from_utf8_lossy(&answer).to_lowercase();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            ensure!(head.starts_with("http/1.1 200"), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.context("a length")?.parse()?;
            if body.len() >= length {
                return Ok(Some(!head.contains("connection: close")));
            }
        }
    }
}

/// More pages than there are connections: each gets its answers, since nobody keeps a connection
/// while others wait. Readers that read nothing take none of that away.
#[test]
fn five_hundred_open_pages_and_slow_readers_are_all_served() -> Result<()> {
    needs!(root, "ip");
    let netns = Netns::new("pages")?;
    let mut daemon = Daemon::start_with_api(&netns, CONFIGURATION, &api())?;
    // They ask for much and read nothing, from one address.
    let slow: Vec<TcpStream> = netns.run(|| {
        let open = |_| -> Result<TcpStream> {
            let mut stream = TcpStream::connect(SERVER)?;
            for _ in 0..50 {
                stream.write_all(b"GET /page/style.css HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            }
            Ok(stream)
        };
        (0..8).map(open).collect::<Result<_>>()
    })?;
    let readers = |block: u8| {
        netns.spawn_thread("readers", move || -> Result<usize> {
            let reader = |host| Reader { address: Ipv4Addr::new(127, 0, block, host), stream: None };
            let mut readers: Vec<Reader> = (1..=10).map(reader).collect();
            let mut answers = 0;
            for _ in 0..3 {
                for reader in &mut readers {
                    reader.ask()?;
                    answers += 1;
                }
            }
            Ok(answers)
        })
    };
    let threads = (1..=50).map(readers).collect::<Result<Vec<_>>>()?;
    let mut answers = 0;
    for thread in threads {
        answers += thread.join().map_err(|_| anyhow!("a reader panicked"))??;
    }
    ensure!(answers == 1500, "{answers} answers");
    // The daemon keeps deciding and answering beside that.
    ensure!(daemon.get("/healthz")?.0 == 200, "not healthy");
    drop(slow);
    let status = daemon.stop()?;
    ensure!(status.success(), "{status}");
    Ok(())
}
