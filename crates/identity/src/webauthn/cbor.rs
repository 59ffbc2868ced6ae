//! CBOR (RFC 8949) as CTAP2 has authenticators write it: definite lengths, shortest numbers,
//! no tags, no floats, at most four levels, no key twice.
//!
//! What is not of that form is refused, and nothing is allocated for a length that was merely
//! announced. The order of keys is not asked for: it proves nothing where none comes twice, and
//! some password managers sort otherwise. It refuses to know what the values mean.

/// Maps and arrays inside one another (CTAP 2.1, section 8).
const DEPTH_MAX: usize = 4;

/// Not CBOR, or not of the form above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotCanonical;

/// A value, borrowing its strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A whole number that 64 signed bits hold; nothing here needs a greater one.
    Integer(i64),
    /// A byte string.
    Bytes(&'a [u8]),
    /// A text.
    Text(&'a str),
    /// An array.
    Array(Vec<Value<'a>>),
    /// A map, in the order written.
    Map(Vec<(Value<'a>, Value<'a>)>),
    /// `true` or `false`.
    Boolean(bool),
    /// `null`.
    Null,
}

impl<'a> Value<'a> {
    /// The one value that `bytes` are.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, NotCanonical> {
        let (value, rest) = Self::read_first(bytes)?;
        if rest.is_empty() { Ok(value) } else { Err(NotCanonical) }
    }

    /// The value that `bytes` begin with, and what follows it.
    pub(super) fn read_first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), NotCanonical> {
        let mut reader = Reader { rest: bytes };
        let value = reader.value(0)?;
        Ok((value, reader.rest))
    }

    /// The member of a map under a text.
    pub(super) fn named(&self, name: &str) -> Option<&Value<'a>> {
        self.member(&Value::Text(name))
    }

    /// The member of a map under a number.
    pub(super) fn numbered(&self, label: i64) -> Option<&Value<'a>> {
        self.member(&Value::Integer(label))
    }

    fn member(&self, wanted: &Value<'_>) -> Option<&Value<'a>> {
        let Self::Map(members) = self else { return None };
        members.iter().find(|(key, _)| key == wanted).map(|(_, value)| value)
    }

    /// How many members a map has; none where it is none.
    pub(super) fn members(&self) -> Option<usize> {
        if let Self::Map(members) = self { Some(members.len()) } else { None }
    }

    pub(super) fn bytes(&self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn integer(&self) -> Option<i64> {
        if let Self::Integer(number) = self { Some(*number) } else { None }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value<'a>, NotCanonical> {
        let [first] = *self.take(1)? else { return Err(NotCanonical) };
        let (major, low) = (first >> 5, first & 0x1f);
        if major == 7 {
            return match low {
                20 => Ok(Value::Boolean(false)),
                21 => Ok(Value::Boolean(true)),
                22 => Ok(Value::Null),
                _ => Err(NotCanonical),
            };
        }
        let argument = self.argument(low)?;
        match major {
            0 => i64::try_from(argument).map(Value::Integer).map_err(|_| NotCanonical),
            1 => i64::try_from(argument)
                .map(|number| Value::Integer(-1 - number))
                .map_err(|_| NotCanonical),
            2 => self.string(argument).map(Value::Bytes),
            3 => std::str::from_utf8(self.string(argument)?)
                .map(Value::Text)
                .map_err(|_| NotCanonical),
            4 => self.array(argument, depth + 1),
            5 => self.map(argument, depth + 1),
            _ => Err(NotCanonical),
        }
    }

    /// The number behind the first byte, in its shortest form.
    fn argument(&mut self, low: u8) -> Result<u64, NotCanonical> {
        let (length, least) = match low {
            0..=23 => return Ok(u64::from(low)),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            _ => return Err(NotCanonical),
        };
        let number =
            self.take(length)?.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte));
        if number >= least { Ok(number) } else { Err(NotCanonical) }
    }

    fn string(&mut self, length: u64) -> Result<&'a [u8], NotCanonical> {
        self.take(usize::try_from(length).map_err(|_| NotCanonical)?)
    }

    fn array(&mut self, count: u64, depth: usize) -> Result<Value<'a>, NotCanonical> {
        let count = self.count(count, 1, depth)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.value(depth)?);
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, count: u64, depth: usize) -> Result<Value<'a>, NotCanonical> {
        let count = self.count(count, 2, depth)?;
        let mut members: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(count);
        for _ in 0..count {
            let key = self.value(depth)?;
            let is_key = matches!(key, Value::Integer(_) | Value::Text(_));
            if !is_key || members.iter().any(|(earlier, _)| *earlier == key) {
                return Err(NotCanonical);
            }
            members.push((key, self.value(depth)?));
        }
        Ok(Value::Map(members))
    }

    /// An announced count that what follows could hold, each item having `least` bytes.
    fn count(&self, announced: u64, least: usize, depth: usize) -> Result<usize, NotCanonical> {
        let count = usize::try_from(announced).map_err(|_| NotCanonical)?;
        // Keys are compared with each other: that must stay cheap whatever is announced.
        if depth > DEPTH_MAX || count > self.rest.len() / least || count > ITEMS_MAX {
            return Err(NotCanonical);
        }
        Ok(count)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], NotCanonical> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(NotCanonical)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Items of one map or array.
const ITEMS_MAX: usize = 64;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::{NotCanonical, Value};

    fn hex(text: &str) -> Vec<u8> {
        let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digits).collect()
    }

    #[test]
    fn values_of_rfc_8949_read_as_they_are_written() {
        let table = [
            ("00", Value::Integer(0)),
            ("17", Value::Integer(23)),
            ("1818", Value::Integer(24)),
            ("1903e8", Value::Integer(1_000)),
            ("1a000f4240", Value::Integer(1_000_000)),
            ("1b000000e8d4a51000", Value::Integer(1_000_000_000_000)),
            ("20", Value::Integer(-1)),
            ("3903e7", Value::Integer(-1_000)),
            ("3b7fffffffffffffff", Value::Integer(i64::MIN)),
            ("f4", Value::Boolean(false)),
            ("f5", Value::Boolean(true)),
            ("f6", Value::Null),
            ("40", Value::Bytes(&[])),
            ("4401020304", Value::Bytes(&[1, 2, 3, 4])),
            ("6449455446", Value::Text("IETF")),
            ("62c3bc", Value::Text("ü")),
            ("80", Value::Array(Vec::new())),
            ("8201820203", {
                let inner = Value::Array(vec![Value::Integer(2), Value::Integer(3)]);
                Value::Array(vec![Value::Integer(1), inner])
            }),
            ("a201020304", {
                let pair = |key, value| (Value::Integer(key), Value::Integer(value));
                Value::Map(vec![pair(1, 2), pair(3, 4)])
            }),
        ];
        for (written, value) in table {
            assert_eq!(Value::read(&hex(written)), Ok(value), "{written}");
        }
    }

    #[test]
    fn whatever_is_not_of_the_one_form_is_refused() {
        let table = [
            ("", "nothing"),
            ("1800", "a number not in its shortest form"),
            ("190017", "a number not in its shortest form"),
            ("1b00000000ffffffff", "a number not in its shortest form"),
            ("580401020304", "a length not in its shortest form"),
            ("1bffffffffffffffff", "more than 63 bits"),
            ("3bffffffffffffffff", "more than 63 bits"),
            ("1c", "a reserved length"),
            ("1f", "a reserved length"),
            ("5f42010243030405ff", "bytes of no definite length"),
            ("7f657374726561646d696e67ff", "a text of no definite length"),
            ("9fff", "an array of no definite length"),
            ("bfff", "a map of no definite length"),
            ("ff", "an end without a beginning"),
            ("c11a514b67b0", "a tag"),
            ("f93c00", "a float"),
            ("fb3ff199999999999a", "a float"),
            ("f7", "undefined"),
            ("f0", "a simple value that is none"),
            ("62c328", "no UTF-8"),
            ("a2010201", "a map that ends early"),
            ("a201020103", "a key twice"),
            ("a2616101616102", "a key twice"),
            ("a1410102", "a byte string as a key"),
            ("a1f502", "a boolean as a key"),
            ("8181818181", "an array that ends early"),
            ("818181818100", "five levels"),
            ("a101a101a101a101a10100", "five levels"),
            ("0000", "two values"),
            ("5b7fffffffffffffff00", "more announced than there is"),
            ("9b7fffffffffffffff00", "more announced than there is"),
            ("bb7fffffffffffffff00", "more announced than there is"),
            ("9a0001000000", "more announced than there is"),
        ];
        for (written, what) in table {
            assert_eq!(Value::read(&hex(written)), Err(NotCanonical), "{what}: {written}");
        }
        let long = [vec![0x98, 65], vec![0; 65]].concat();
        assert_eq!(Value::read(&long), Err(NotCanonical), "an array of 65");
    }

    /// Writes a value as it has to be written.
    fn write(value: &Value<'_>, to: &mut Vec<u8>) {
        let head = |to: &mut Vec<u8>, major: u8, number: u64| {
            let bytes = number.to_be_bytes();
            let (low, tail) = match number {
                0..=23 => (bytes[7], &bytes[8..]),
                24..=0xff => (24, &bytes[7..]),
                0x100..=0xffff => (25, &bytes[6..]),
                0x1_0000..=0xffff_ffff => (26, &bytes[4..]),
                _ => (27, &bytes[..]),
            };
            to.push((major << 5) | low);
            to.extend_from_slice(tail);
        };
        match value {
            Value::Integer(number) if *number >= 0 => head(to, 0, number.unsigned_abs()),
            Value::Integer(number) => head(to, 1, (-1 - number).unsigned_abs()),
            Value::Bytes(bytes) => {
                head(to, 2, bytes.len() as u64);
                to.extend_from_slice(bytes);
            }
            Value::Text(text) => {
                head(to, 3, text.len() as u64);
                to.extend_from_slice(text.as_bytes());
            }
            Value::Array(items) => {
                head(to, 4, items.len() as u64);
                for item in items {
                    write(item, to);
                }
            }
            Value::Map(members) => {
                head(to, 5, members.len() as u64);
                for (key, value) in members {
                    write(key, to);
                    write(value, to);
                }
            }
            Value::Boolean(boolean) => to.push(if *boolean { 0xf5 } else { 0xf4 }),
            Value::Null => to.push(0xf6),
        }
    }

    proptest! {
        /// What is read is what was written: no two spellings of one value.
        #[test]
        fn whatever_reads_is_written_so_and_no_other_way(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            if let Ok((value, rest)) = Value::read_first(&bytes) {
                let mut written = Vec::new();
                write(&value, &mut written);
                prop_assert_eq!(&written[..], &bytes[..bytes.len() - rest.len()]);
            }
        }

        /// The same near the shapes that matter: maps of small keys.
        #[test]
        fn maps_as_well(
            count in 0xa0_u8..0xa4,
            bytes in prop::collection::vec(prop::sample::select(vec![
                0_u8, 1, 2, 3, 0x20, 0x21, 0x26, 0x40, 0x41, 0x60, 0x61, 0x80, 0x81, 0xa0, 0xa1, 0xf5,
            ]), 0..24),
        ) {
            let bytes = [vec![count], bytes].concat();
            if let Ok((value, rest)) = Value::read_first(&bytes) {
                let mut written = Vec::new();
                write(&value, &mut written);
                prop_assert_eq!(&written[..], &bytes[..bytes.len() - rest.len()]);
            }
        }
    }
}
