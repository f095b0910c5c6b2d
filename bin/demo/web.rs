//! The demonstration's web server: one static file, no dependencies. It answers every request
//! with who it is, so that people see which pod they reached and what version it runs.
//!
//! `PORT` is where it listens (8080), `MESSAGE` what it greets with. It ends at SIGTERM, as the
//! first process of a container must do by itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

static SERVED: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn _exit(code: i32) -> !;
}

extern "C" fn end(_signal: i32) {
    // SAFETY: _exit is async-signal-safe and does not return.
    unsafe { _exit(0) }
}

fn main() {
    const SIGINT: i32 = 2;
    const SIGTERM: i32 = 15;
    // SAFETY: the handler only calls an async-signal-safe function.
    unsafe {
        signal(SIGINT, end);
        signal(SIGTERM, end);
    }
    let port = std::env::var("PORT").ok().and_then(|p| p.parse().ok()).unwrap_or(8080u16);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().to_string();
    let message = std::env::var("MESSAGE").unwrap_or_else(|_| "Hello from Kabuki".to_string());
    // A name to look up would bring in the C library's resolver, which is larger than all else.
    let listener = match TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot listen on port {port}: {error}");
            std::process::exit(1);
        }
    };
    println!("{host} listens on port {port}");
    let started = Instant::now();
    for stream in listener.incoming().flatten() {
        let (host, message) = (host.clone(), message.clone());
        std::thread::spawn(move || {
            if let Err(error) = answer(stream, &host, &message, started) {
                eprintln!("request failed: {error}");
            }
        });
    }
}

fn answer(stream: TcpStream, host: &str, message: &str, started: Instant) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // A request line and headers of more than 16 KiB are nobody's honest request.
    let mut lines = BufReader::new((&stream).take(16 << 10)).lines();
    let Some(request) = lines.next().transpose()? else {
        return Ok(());
    };
    for header in lines {
        if header?.is_empty() {
            break;
        }
    }
    let number = SERVED.fetch_add(1, Ordering::Relaxed) + 1;
    let up = started.elapsed().as_secs();
    let body = format!("{message}: pod {host}, request {number}, up {up}s\n");
    println!("{request} from {}", stream.peer_addr()?.ip());
    write!(
        &stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: \
         close\r\n\r\n{body}",
        body.len()
    )
}
