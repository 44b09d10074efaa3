//! The chunk decoder: never a panic, the same result however the bytes are split, no more data than bytes, and an end or an
//! error that stays one.
//!
//! The first byte chooses how the bytes are split; the rest is the body.
#![no_main]

use enjamb::Input;
use enjamb::http::{Chunk, ChunkDecoder};
use libfuzzer_sys::fuzz_target;

/// The data, what came of it, and how many bytes were taken.
fn decode(bytes: &[u8], size: usize) -> (Vec<u8>, String, usize) {
    let (mut decoder, mut data, mut taken) = (ChunkDecoder::new(), Vec::new(), 0);
    for piece in bytes.chunks(size) {
        let mut input = Input::new(piece);
        loop {
            let next = decoder.next(&mut input);
            let end = match next {
                Ok(Chunk::Data(piece)) => {
                    assert!(!piece.is_empty());
                    data.extend_from_slice(piece);
                    continue;
                }
                Ok(Chunk::More) => {
                    assert!(input.is_empty());
                    break;
                }
                Ok(Chunk::End(trailers)) => {
                    assert!(matches!(decoder.next(&mut Input::new(b"1\r\n")), Ok(Chunk::End(_))));
                    format!("{trailers:?}")
                }
                Err(rule) => {
                    assert_eq!(decoder.next(&mut Input::new(b"1\r\n")), Err(rule));
                    format!("{rule:?}")
                }
            };
            return (data, end, taken + piece.len() - input.len());
        }
        taken += piece.len();
    }
    assert!(data.len() <= bytes.len());
    (data, "more".into(), taken)
}

fuzz_target!(|data: &[u8]| {
    let [size, bytes @ ..] = data else { return };
    assert_eq!(decode(bytes, bytes.len().max(1)), decode(bytes, usize::from(*size) + 1));
});
