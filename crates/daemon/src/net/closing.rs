//! Closes a TCP connection so that the other end can read why: writes the last octets, then waits a
//! moment for the other end to close.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Longest wait.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Most connections of one peer that are closed in this way at a time, since each is an open file;
/// further ones are closed without waiting.
pub(crate) const MAX_CLOSING: usize = 4;

/// Connections that are being closed.
#[derive(Debug, Default)]
pub(super) struct ClosingConnections(JoinSet<()>);

impl ClosingConnections {
    /// Closes a connection after these octets. A peer that opens connections faster than they can
    /// be closed takes no further descriptors: those connections are closed at once, with the
    /// octets written as far as the socket accepts them.
    pub(super) fn end(&mut self, stream: TcpStream, final_octets: VecDeque<u8>) {
        while self.0.try_join_next().is_some() {}
        if self.0.len() < MAX_CLOSING {
            self.0.spawn(end(stream, final_octets));
        } else {
            let mut unsent = final_octets;
            let _ = write(&stream, &mut unsent);
        }
    }

    /// Waits until all are closed.
    pub(super) async fn all(&mut self) {
        while self.0.join_next().await.is_some() {}
    }
}

/// Writes as much as the kernel accepts.
pub(super) fn write(stream: &TcpStream, unsent: &mut VecDeque<u8>) -> io::Result<()> {
    while !unsent.is_empty() {
        match stream.try_write(unsent.as_slices().0) {
            Ok(count) => drop(unsent.drain(..count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes the last octets and waits for the other end to close: closing with unread octets would
/// reset the connection, and the other end might never read why.
async fn end(stream: TcpStream, mut unsent: VecDeque<u8>) {
    let closing = async {
        while write(&stream, &mut unsent).is_ok() && !unsent.is_empty() {
            if stream.writable().await.is_err() {
                return;
            }
        }
        let _ = socket2::SockRef::from(&stream).shutdown(std::net::Shutdown::Write);
        let mut scrap = [0; 4096];
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut scrap) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
}
