//! Identifiers of message components (RFC 9421 section 2): a field or a derived value, and how it
//! is to be taken. It refuses to know any message.

use std::fmt;

use super::SignatureError;
use super::message::percent_encoded;
use super::structured::{Bare, Item, Parameters, is_key, is_string, is_tchar};

/// The longest name of a component, of a member or of a parameter of a query.
const NAME_BYTES_MAX: usize = 256;

const DERIVED: [&str; 9] = [
    "@method",
    "@target-uri",
    "@authority",
    "@scheme",
    "@request-target",
    "@path",
    "@query",
    "@query-param",
    "@status",
];

/// A component identifier that can be: its name is known and its parameters fit it.
#[derive(Clone, Debug)]
pub struct Component {
    name: String,
    /// As they were written, which the signature covers.
    parameters: Vec<Parameter>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    /// `sf`: written anew as a structured field.
    Structured,
    /// `key`: one member of a dictionary.
    Key(String),
    /// `bs`: each line as bytes.
    Binary,
    /// `req`: of the request that a response answers.
    OfRequest,
    /// `name`: which parameter of the query, percent-encoded.
    Name(String),
}

impl Component {
    /// Reads an identifier as it stands in `Signature-Input`, such as `"@query-param";name="id"`,
    /// or a name without quotes and parameters.
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        if !text.starts_with('"') {
            return Self::of(text.to_owned(), Vec::new());
        }
        let item = Item::parse(text).map_err(|_| SignatureError::Malformed)?;
        Self::from_item(item)
    }

    /// A parameter of the query, by its name as a form reads it.
    pub fn query_parameter(name: &str) -> Result<Self, SignatureError> {
        let parameters = vec![Parameter::Name(percent_encoded(name))];
        Self::of("@query-param".to_owned(), parameters)
    }

    pub(super) fn from_item(item: Item) -> Result<Self, SignatureError> {
        let Bare::String(name) = item.value else { return Err(SignatureError::Malformed) };
        let unknown = |key: &str| SignatureError::Unsupported(format!("\"{name}\";{key}"));
        let mut parameters = Vec::with_capacity(item.parameters.0.len());
        for (key, value) in item.parameters.0 {
            parameters.push(match (key.as_str(), value) {
                ("sf", Bare::Boolean(true)) => Parameter::Structured,
                ("bs", Bare::Boolean(true)) => Parameter::Binary,
                ("req", Bare::Boolean(true)) => Parameter::OfRequest,
                ("key", Bare::String(value)) => Parameter::Key(value),
                ("name", Bare::String(value)) => Parameter::Name(value),
                (key, _) => return Err(unknown(key)),
            });
        }
        Self::of(name, parameters)
    }

    fn of(name: String, parameters: Vec<Parameter>) -> Result<Self, SignatureError> {
        let component = Self { name, parameters };
        if component.can_be() {
            Ok(component)
        } else {
            Err(SignatureError::Unsupported(component.to_string()))
        }
    }

    /// Whether the name is one and the parameters are for it and for each other.
    fn can_be(&self) -> bool {
        let has = |wanted: fn(&Parameter) -> bool| self.parameters.iter().any(wanted);
        let reads = has(|p| matches!(p, Parameter::Structured | Parameter::Key(_)));
        let binary = has(|p| matches!(p, Parameter::Binary));
        let named = has(|p| matches!(p, Parameter::Name(_)));
        let is_bounded = |text: &str| text.len() <= NAME_BYTES_MAX && is_string(text);
        let texts_fit = self.parameters.iter().all(|parameter| match parameter {
            Parameter::Key(key) => is_bounded(key) && is_key(key),
            Parameter::Name(name) => is_bounded(name),
            _ => true,
        });
        if !texts_fit || !is_bounded(&self.name) {
            return false;
        }
        if self.is_derived() {
            let is_query_parameter = self.name == "@query-param";
            let of_status = self.name == "@status" && self.is_of_request();
            return DERIVED.contains(&self.name.as_str())
                && !reads
                && !binary
                && named == is_query_parameter
                && !of_status;
        }
        let is_name = |byte: u8| is_tchar(byte) && !byte.is_ascii_uppercase();
        let is_field = !self.name.is_empty() && self.name.bytes().all(is_name);
        let is_contradiction = binary && reads;
        is_field && !named && !is_contradiction
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    pub(super) fn is_derived(&self) -> bool {
        self.name.starts_with('@')
    }

    pub(super) fn is_of_request(&self) -> bool {
        self.parameters.contains(&Parameter::OfRequest)
    }
}

/// The order of parameters tells no two components apart (RFC 9421 section 2).
impl PartialEq for Component {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.parameters.len() == other.parameters.len()
            && self.parameters.iter().all(|parameter| other.parameters.contains(parameter))
    }
}

impl Eq for Component {}

impl fmt::Display for Component {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = |parameter: &Parameter| match parameter {
            Parameter::Structured => ("sf".to_owned(), Bare::Boolean(true)),
            Parameter::Binary => ("bs".to_owned(), Bare::Boolean(true)),
            Parameter::OfRequest => ("req".to_owned(), Bare::Boolean(true)),
            Parameter::Key(key) => ("key".to_owned(), Bare::String(key.clone())),
            Parameter::Name(name) => ("name".to_owned(), Bare::String(name.clone())),
        };
        let parameters = Parameters(self.parameters.iter().map(written).collect());
        write!(formatter, "{}", Item { value: Bare::String(self.name.clone()), parameters })
    }
}
