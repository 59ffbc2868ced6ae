//! A text as a QR code, in SVG and in PNG.
//!
//! The PNG is one bit a pixel and not compressed (a few kilobytes, shown once), so it
//! needs no library: three chunks and two checksums (RFC 2083, RFC 1950, RFC 1951).

use qrcode::{Color, EcLevel, QrCode, render::svg, types::QrError};

/// Pixels a module.
const SCALE: usize = 6;
/// The quiet zone, in modules (ISO/IEC 18004 section 6.3.8).
const QUIET: usize = 4;
/// The longest stored block of deflate.
const BLOCK_BYTES: usize = 65_535;

/// A QR code in both formats.
pub(crate) struct Drawn {
    pub(crate) svg: String,
    pub(crate) png: Vec<u8>,
}

/// Draws a text; `M` survives 15 % of damage, which a dirty screen is.
pub(crate) fn draw(text: &str) -> Result<Drawn, QrError> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M)?;
    let svg = code
        .render::<svg::Color<'_>>()
        .quiet_zone(true)
        .min_dimensions(240, 240)
        .dark_color(svg::Color("#000"))
        .light_color(svg::Color("#fff"))
        .build();
    let width = code.width();
    let dark: Vec<bool> = code.to_colors().into_iter().map(|color| color == Color::Dark).collect();
    Ok(Drawn { svg, png: png(&dark, width) })
}

fn png(dark: &[bool], modules: usize) -> Vec<u8> {
    let side = (modules + 2 * QUIET) * SCALE;
    let mut rows = Vec::with_capacity(side * (side / 8 + 2));
    for y in 0..side {
        rows.push(0); // no filter
        let mut line = vec![0_u8; side.div_ceil(8)];
        for x in 0..side {
            if !is_dark(dark, modules, (x / SCALE, y / SCALE)) {
                line[x / 8] |= 0x80 >> (x % 8);
            }
        }
        rows.append(&mut line);
    }
    let side = u32::try_from(side).unwrap_or(u32::MAX).to_be_bytes();
    // Width, height, one bit of grey, and the only method there is of each kind.
    let header = [side.as_slice(), side.as_slice(), &[1, 0, 0, 0, 0]].concat();
    let mut image = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut image, *b"IHDR", &header);
    chunk(&mut image, *b"IDAT", &stored(&rows));
    chunk(&mut image, *b"IEND", &[]);
    image
}

fn is_dark(dark: &[bool], modules: usize, (x, y): (usize, usize)) -> bool {
    let (Some(x), Some(y)) = (x.checked_sub(QUIET), y.checked_sub(QUIET)) else { return false };
    x < modules && y < modules && dark.get(y * modules + x).copied().unwrap_or(false)
}

fn chunk(image: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    image.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    let begin = image.len();
    image.extend(kind);
    image.extend(data);
    let sum = crc32(&image[begin..]);
    image.extend(sum.to_be_bytes());
}

/// A zlib stream of stored blocks.
fn stored(data: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = data.chunks(BLOCK_BYTES).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    stream.extend(adler32(data).to_be_bytes());
    stream
}

fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 }
        })
    })
}

fn adler32(data: &[u8]) -> u32 {
    let (low, high) = data.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    (high << 16) | low
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{QUIET, SCALE, adler32, crc32, draw};

    #[test]
    fn the_checksums_are_those_of_their_specifications() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn a_picture_has_its_chunks_its_size_and_a_quiet_zone() {
        let drawn = draw("otpauth://totp/x:y?secret=MZXW6YTBOI").unwrap();
        assert!(drawn.svg.contains("<svg") && drawn.svg.contains("</svg>"));
        let png = &drawn.png;
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(&png[12..16], b"IHDR");
        let side = u32::from_be_bytes(png[16..20].try_into().unwrap());
        assert_eq!(png[20..24], png[16..20], "it is a square");
        assert_eq!(usize::try_from(side).unwrap() % SCALE, 0);
        assert_eq!(&png[png.len() - 8..png.len() - 4], b"IEND");
        // Signature, header, chunk head, zlib head, block head: then the first row.
        let first = 8 + 25 + 8 + 2 + 5;
        let row = usize::try_from(side).unwrap().div_ceil(8) + 1;
        assert!(png[first + 1..first + QUIET * SCALE / 8].iter().all(|byte| *byte == 0xff));
        let black = |byte: &&u8| **byte == 0;
        let margin = &png[first..first + row * QUIET * SCALE];
        assert!(margin.iter().filter(black).take(row * QUIET).count() < row * QUIET);
    }

    #[test]
    fn what_no_code_can_hold_is_refused() {
        assert!(draw(&"x".repeat(3_000)).is_err());
    }
}
