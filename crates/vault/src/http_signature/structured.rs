//! Structured field values (RFC 8941), read strictly and written in their one canonical form.
//!
//! Stricter than the RFC where leniency lets two readers see two values: a key that stands twice
//! is refused instead of the last one winning, and base64 must be padded and exact. Everything
//! is bounded, because it is read before anybody is known, and nothing is nested deeper than an
//! inner list. It refuses to know what fields mean, and fields that are lists: nothing here is.

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The longest value that is read, in bytes.
pub(super) const FIELD_BYTES_MAX: usize = 16 * 1024;
/// The most members of a dictionary or an inner list.
const MEMBERS_MAX: usize = 256;
/// The most parameters of one item.
const PARAMETERS_MAX: usize = 32;
const INTEGER_DIGITS_MAX: usize = 15;
const WHOLE_DIGITS_MAX: usize = 12;
const FRACTION_DIGITS_MAX: usize = 3;

/// Not a structured field, or beyond its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A value without parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bare {
    Integer(i64),
    /// In thousandths.
    Decimal(i64),
    String(String),
    Token(String),
    Bytes(Vec<u8>),
    Boolean(bool),
}

/// In the order in which they were written, no key twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters(pub(super) Vec<(String, Bare)>);

/// A value with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) value: Bare,
    pub(super) parameters: Parameters,
}

/// A member of a dictionary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Member {
    Item(Item),
    Inner(Vec<Item>, Parameters),
}

/// In the order in which its members were written, no key twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dictionary(pub(super) Vec<(String, Member)>);

impl Dictionary {
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        Parser::whole(text, Parser::dictionary).map(Self)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Member> {
        self.0.iter().find_map(|(name, member)| (name == key).then_some(member))
    }
}

impl Item {
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        Parser::whole(text, Parser::item)
    }
}

/// Whether text can stand in a String: printable ASCII.
pub(super) fn is_string(text: &str) -> bool {
    text.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

/// Whether text can be a key of a dictionary or of parameters.
pub(super) fn is_key(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(starts_key) && bytes.all(continues_key)
}

fn starts_key(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte == b'*'
}

fn continues_key(byte: u8) -> bool {
    starts_key(byte) || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.')
}

/// Whether a byte can stand in a token of HTTP (RFC 9110 section 5.6.2).
pub(super) fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

struct Parser<'a> {
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    /// Reads all of the text: RFC 8941 section 4.2.
    fn whole<T>(
        text: &'a str,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        if text.len() > FIELD_BYTES_MAX {
            return Err(Malformed);
        }
        let mut parser = Self { rest: text.trim_matches(' ').as_bytes() };
        let value = read(&mut parser)?;
        if parser.rest.is_empty() { Ok(value) } else { Err(Malformed) }
    }

    fn dictionary(&mut self) -> Result<Vec<(String, Member)>, Malformed> {
        let mut members: Vec<(String, Member)> = Vec::new();
        if self.rest.is_empty() {
            return Ok(members);
        }
        loop {
            let key = self.key()?;
            if members.len() == MEMBERS_MAX || members.iter().any(|(known, _)| *known == key) {
                return Err(Malformed);
            }
            let member = if self.takes(b'=') {
                self.member()?
            } else {
                let parameters = self.parameters()?;
                Member::Item(Item { value: Bare::Boolean(true), parameters })
            };
            members.push((key, member));
            if !self.separated()? {
                return Ok(members);
            }
        }
    }

    /// Whether another member follows; a comma that nothing follows is refused.
    fn separated(&mut self) -> Result<bool, Malformed> {
        self.skip(|byte| matches!(byte, b' ' | b'\t'));
        if self.rest.is_empty() {
            return Ok(false);
        }
        if !self.takes(b',') {
            return Err(Malformed);
        }
        self.skip(|byte| matches!(byte, b' ' | b'\t'));
        if self.rest.is_empty() { Err(Malformed) } else { Ok(true) }
    }

    fn member(&mut self) -> Result<Member, Malformed> {
        if !self.takes(b'(') {
            return self.item().map(Member::Item);
        }
        let mut items = Vec::new();
        loop {
            self.skip(|byte| byte == b' ');
            if self.takes(b')') {
                return Ok(Member::Inner(items, self.parameters()?));
            }
            if items.len() == MEMBERS_MAX {
                return Err(Malformed);
            }
            items.push(self.item()?);
            if !matches!(self.rest.first(), Some(b' ' | b')')) {
                return Err(Malformed);
            }
        }
    }

    fn item(&mut self) -> Result<Item, Malformed> {
        Ok(Item { value: self.bare()?, parameters: self.parameters()? })
    }

    fn parameters(&mut self) -> Result<Parameters, Malformed> {
        let mut parameters: Vec<(String, Bare)> = Vec::new();
        while self.takes(b';') {
            self.skip(|byte| byte == b' ');
            let key = self.key()?;
            let known = parameters.iter().any(|(known, _)| *known == key);
            if known || parameters.len() == PARAMETERS_MAX {
                return Err(Malformed);
            }
            let value = if self.takes(b'=') { self.bare()? } else { Bare::Boolean(true) };
            parameters.push((key, value));
        }
        Ok(Parameters(parameters))
    }

    fn key(&mut self) -> Result<String, Malformed> {
        if !self.rest.first().copied().is_some_and(starts_key) {
            return Err(Malformed);
        }
        Ok(self.taken(continues_key))
    }

    fn bare(&mut self) -> Result<Bare, Malformed> {
        match self.rest.first().ok_or(Malformed)? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b':' => self.bytes(),
            b'?' => match self.rest.get(1) {
                Some(digit @ (b'0' | b'1')) => {
                    let value = Bare::Boolean(*digit == b'1');
                    self.rest = &self.rest[2..];
                    Ok(value)
                }
                _ => Err(Malformed),
            },
            b'*' | b'a'..=b'z' | b'A'..=b'Z' => {
                Ok(Bare::Token(self.taken(|byte| is_tchar(byte) || matches!(byte, b':' | b'/'))))
            }
            _ => Err(Malformed),
        }
    }

    fn number(&mut self) -> Result<Bare, Malformed> {
        let sign = if self.takes(b'-') { -1 } else { 1 };
        let whole = self.taken(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > INTEGER_DIGITS_MAX {
            return Err(Malformed);
        }
        let value: i64 = whole.parse().map_err(|_| Malformed)?;
        if !self.takes(b'.') {
            return Ok(Bare::Integer(sign * value));
        }
        let mut fraction = self.taken(|byte| byte.is_ascii_digit());
        if whole.len() > WHOLE_DIGITS_MAX || !(1..=FRACTION_DIGITS_MAX).contains(&fraction.len()) {
            return Err(Malformed);
        }
        while fraction.len() < FRACTION_DIGITS_MAX {
            fraction.push('0');
        }
        let thousandths: i64 = fraction.parse().map_err(|_| Malformed)?;
        Ok(Bare::Decimal(sign * (value * 1000 + thousandths)))
    }

    fn string(&mut self) -> Result<Bare, Malformed> {
        let mut text = String::new();
        let mut bytes = self.rest[1..].iter().enumerate();
        while let Some((at, byte)) = bytes.next() {
            let character = match byte {
                b'"' => {
                    self.rest = &self.rest[at + 2..];
                    return Ok(Bare::String(text));
                }
                b'\\' => match bytes.next() {
                    Some((_, escaped @ (b'"' | b'\\'))) => *escaped,
                    _ => return Err(Malformed),
                },
                0x20..=0x7e => *byte,
                _ => return Err(Malformed),
            };
            text.push(char::from(character));
        }
        Err(Malformed)
    }

    fn bytes(&mut self) -> Result<Bare, Malformed> {
        let rest = &self.rest[1..];
        let end = rest.iter().position(|byte| *byte == b':').ok_or(Malformed)?;
        let bytes = STANDARD.decode(&rest[..end]).map_err(|_| Malformed)?;
        self.rest = &rest[end + 1..];
        Ok(Bare::Bytes(bytes))
    }

    fn takes(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn skip(&mut self, among: impl Fn(u8) -> bool) {
        let length = self.rest.iter().take_while(|byte| among(**byte)).count();
        self.rest = &self.rest[length..];
    }

    /// What is among some bytes of ASCII, taken away.
    fn taken(&mut self, among: impl Fn(u8) -> bool) -> String {
        let length = self.rest.iter().take_while(|byte| among(**byte)).count();
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken.iter().copied().map(char::from).collect()
    }
}

impl fmt::Display for Bare {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => write!(formatter, "{value}"),
            Self::Decimal(thousandths) => {
                let sign = if *thousandths < 0 { "-" } else { "" };
                let (whole, rest) =
                    (thousandths.unsigned_abs() / 1000, thousandths.unsigned_abs() % 1000);
                let fraction = format!("{rest:03}");
                let fraction = fraction.trim_end_matches('0');
                let fraction = if fraction.is_empty() { "0" } else { fraction };
                write!(formatter, "{sign}{whole}.{fraction}")
            }
            Self::String(text) => {
                formatter.write_char('"')?;
                for character in text.chars() {
                    if matches!(character, '"' | '\\') {
                        formatter.write_char('\\')?;
                    }
                    formatter.write_char(character)?;
                }
                formatter.write_char('"')
            }
            Self::Token(text) => formatter.write_str(text),
            Self::Bytes(bytes) => write!(formatter, ":{}:", STANDARD.encode(bytes)),
            Self::Boolean(value) => write!(formatter, "?{}", u8::from(*value)),
        }
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in &self.0 {
            match value {
                Bare::Boolean(true) => write!(formatter, ";{key}")?,
                value => write!(formatter, ";{key}={value}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Item {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.value, self.parameters)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(item) => item.fmt(formatter),
            Self::Inner(items, parameters) => {
                let items: Vec<String> = items.iter().map(Item::to_string).collect();
                write!(formatter, "({}){parameters}", items.join(" "))
            }
        }
    }
}

impl fmt::Display for Dictionary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = |(key, member): &(String, Member)| match member {
            Member::Item(Item { value: Bare::Boolean(true), parameters }) => {
                format!("{key}{parameters}")
            }
            member => format!("{key}={member}"),
        };
        let members: Vec<String> = self.0.iter().map(written).collect();
        formatter.write_str(&members.join(", "))
    }
}
