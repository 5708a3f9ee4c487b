//! The frames of a WebSocket, cut into small ones. MQTT does not care where frames begin and end, and who
//! hands out whole ones has to keep as much of a stranger's as he likes to put into one.

use std::io::{self, Cursor};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// Bytes in a frame that was cut. A mask has four, so that each piece begins where the mask does.
pub const PIECE: u64 = 16 * 1024;

/// Bytes asked of the stream in one go.
const CHUNK: usize = 8 * 1024;

/// A stream whose binary frames come in pieces, each of them a frame by itself.
#[derive(Debug)]
pub struct CutFrames<S> {
    stream: S,
    /// Whether there are frames: not before the handshake is over, and not behind what is none.
    has_frames: bool,
    /// Came in and was not handed on.
    raw: BytesMut,
    /// The head of a frame that is handed on, and how many bytes follow it.
    head: BytesMut,
    following: u64,
    /// What is left of the frame that is cut.
    rest: u64,
    mask: Option<[u8; 4]>,
    /// A message of binary frames has begun and not ended.
    is_within: bool,
}

impl<S> CutFrames<S> {
    /// A stream that does not carry frames yet.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            has_frames: false,
            raw: BytesMut::new(),
            head: BytesMut::new(),
            following: 0,
            rest: 0,
            mask: None,
            is_within: false,
        }
    }

    /// From here on it does.
    pub fn begin(&mut self) {
        self.has_frames = true;
    }

    /// Writes the head of the next frame that is handed on, if what came says what that is.
    fn next_head(&mut self) -> io::Result<bool> {
        if self.rest == 0 {
            let mut cursor = Cursor::new(&*self.raw);
            let Some((header, len)) = FrameHeader::parse(&mut cursor).map_err(io::Error::other)?
            else {
                return Ok(false);
            };
            let size = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
            self.raw.advance(size);
            let is_binary = match header.opcode {
                OpCode::Data(Data::Binary) if self.is_within => {
                    let error = "a message begins within another one";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
                OpCode::Data(Data::Binary) => true,
                OpCode::Data(Data::Continue) => self.is_within,
                _ => false,
            };
            if !is_binary || header.rsv1 || header.rsv2 || header.rsv3 {
                return self.put_head(&header, len);
            }
            self.is_within = !header.is_final;
            (self.rest, self.mask) = (len, header.mask);
        }
        let piece = self.rest.min(PIECE);
        self.rest -= piece;
        let header = FrameHeader {
            opcode: OpCode::Data(Data::Binary),
            mask: self.mask,
            ..FrameHeader::default()
        };
        self.put_head(&header, piece)
    }

    fn put_head(&mut self, header: &FrameHeader, len: u64) -> io::Result<bool> {
        self.following = len;
        let written = header.format(len, &mut (&mut self.head).writer());
        written.map(|()| true).map_err(io::Error::other)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CutFrames<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let (from, most) = if !this.head.is_empty() {
                (&mut this.head, u64::MAX)
            } else if !this.has_frames {
                (&mut this.raw, u64::MAX)
            } else if this.following > 0 {
                (&mut this.raw, this.following)
            } else {
                match this.next_head() {
                    Ok(true) => continue,
                    Ok(false) => (&mut this.raw, 0),
                    Err(error) => {
                        this.has_frames = false;
                        return Poll::Ready(Err(error));
                    }
                }
            };
            let is_head = most == u64::MAX;
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let len = from.len().min(most).min(buf.remaining());
            if len > 0 {
                buf.put_slice(&from.split_to(len));
                if !is_head {
                    let len = u64::try_from(len).unwrap_or(u64::MAX);
                    this.following = this.following.saturating_sub(len);
                }
                return Poll::Ready(Ok(()));
            }
            let mut chunk = [0; CHUNK];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.raw.extend_from_slice(chunk.filled());
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CutFrames<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn cut(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut cut = CutFrames::new(bytes);
        cut.begin();
        let mut all = Vec::new();
        cut.read_to_end(&mut all).await?;
        Ok(all)
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first, 0x80 | 127];
        bytes.extend(u64::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend([1, 2, 3, 4]);
        bytes.extend(payload);
        bytes
    }

    fn small(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match u8::try_from(payload.len()) {
            Ok(len @ 0..=125) => bytes.push(0x80 | len),
            _ => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
            }
        }
        bytes.extend([1, 2, 3, 4]);
        bytes.extend(payload);
        bytes
    }

    #[tokio::test]
    async fn binary_frames_come_in_pieces_and_others_as_they_are() {
        let piece = usize::try_from(PIECE).unwrap();
        let long: Vec<u8> = (0..2 * piece + 5).map(|at| (at % 251) as u8).collect();
        let (first, rest) = long.split_at(piece);
        let (second, third) = rest.split_at(piece);
        let in_pieces = [first, second, third]
            .map(|piece| small(0x82, piece))
            .concat();
        let ping = small(0x89, b"there?");
        let rows = [
            ("whole", frame(0x82, &long), in_pieces.clone()),
            (
                "of several frames, with a ping between them",
                [frame(0x02, &long), ping.clone(), frame(0x80, b"end")].concat(),
                [in_pieces, ping, small(0x82, b"end")].concat(),
            ),
            ("a text", small(0x81, b"text"), small(0x81, b"text")),
            (
                "a bit of an extension",
                small(0xC2, b"x"),
                small(0xC2, b"x"),
            ),
            (
                "what continues nothing",
                small(0x80, b"x"),
                small(0x80, b"x"),
            ),
            ("empty", small(0x82, b""), small(0x82, b"")),
        ];
        for (name, bytes, expected) in rows {
            assert!(cut(&bytes).await.unwrap() == expected, "{name}");
        }
    }

    #[tokio::test]
    async fn what_is_no_frame_ends_them() {
        for bytes in [
            [small(0x02, b"x"), small(0x82, b"y")].concat(),
            small(0x83, b"x"),
        ] {
            assert!(cut(&bytes).await.is_err(), "{bytes:02x?}");
        }
    }
}
