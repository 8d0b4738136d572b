//! SQLite's write-ahead log, as far as it is needed to know which pages a database has: <https://sqlite.org/fileformat2.html>,
//! section 4. Only whole transactions count; what a crash cut off does not.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// How the header of a log begins; the last bit says in which order of bytes the checksums read numbers.
const MAGIC: u32 = 0x377f_0682;

/// The pages in a write-ahead log.
#[derive(Default)]
pub(super) struct Log {
    pages: BTreeSet<u32>,
    count: Option<u32>,
}

impl Log {
    /// Reads the log; there need not be one.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        match File::open(path) {
            Ok(file) => Self::parse(BufReader::new(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// How many pages the database has after the last transaction in the log.
    pub(super) fn pages(&self) -> Option<u32> {
        self.count
    }

    /// Whether the log has this page.
    pub(super) fn has(&self, page: u32) -> bool {
        self.pages.contains(&page)
    }

    fn parse(mut from: impl Read) -> io::Result<Self> {
        let mut log = Self::default();
        let mut header = [0; HEADER];
        if !fill(&mut from, &mut header)? {
            return Ok(log);
        }
        let mut sum = Checksum::new(number(&header, 0) & 1 == 1);
        sum.add(&header[..24]);
        if number(&header, 0) & !1 != MAGIC || !sum.is(&header[24..]) {
            return Ok(log);
        }
        let (salts, page_size) = (&header[16..24], number(&header, 8) as usize);
        let mut frame = vec![0; FRAME_HEADER + page_size.min(65_536)];
        let mut pending = BTreeSet::new();
        while fill(&mut from, &mut frame)? {
            sum.add(&frame[..8]);
            sum.add(&frame[FRAME_HEADER..]);
            // What follows is of an earlier round, or was cut off.
            if frame[8..16] != *salts || !sum.is(&frame[16..24]) {
                break;
            }
            pending.insert(number(&frame, 0));
            let count = number(&frame, 4);
            if count > 0 {
                log.pages.append(&mut pending);
                log.count = Some(count);
            }
        }
        Ok(log)
    }
}

/// Whether there was enough to fill the buffer.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |four| u32::from_be_bytes(*four))
}

/// The running checksum over a log.
struct Checksum {
    is_big_endian: bool,
    sums: (u32, u32),
}

impl Checksum {
    fn new(is_big_endian: bool) -> Self {
        Self { is_big_endian, sums: (0, 0) }
    }

    fn add(&mut self, bytes: &[u8]) {
        let read = |four: [u8; 4]| {
            if self.is_big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
        };
        let (mut first, mut second) = self.sums;
        for eight in bytes.chunks_exact(8) {
            let [a, b, c, d, e, f, g, h] = *eight else { continue };
            first = first.wrapping_add(read([a, b, c, d])).wrapping_add(second);
            second = second.wrapping_add(read([e, f, g, h])).wrapping_add(first);
        }
        self.sums = (first, second);
    }

    fn is(&self, written: &[u8]) -> bool {
        (number(written, 0), number(written, 4)) == self.sums
    }
}
