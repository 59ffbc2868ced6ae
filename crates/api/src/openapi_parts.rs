//! Owns how a handler documents itself: what it takes, what it answers, and which
//! problems are its own. What follows from the route (401, 403, 429, …) is added
//! by rule in `openapi`, so that no route can forget it.
//!
//! Examples are true: an answer's is a wire value, serialised; a request's is
//! checked against the strict parser of its type by a test.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::{
        Object, Ref, RefOr, Required, Type,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat},
    },
};

/// A named component.
pub(crate) type NamedSchema = (String, RefOr<Schema>);

/// A wire value to show; it has to be one that the interface could really give.
pub(crate) trait Example: Serialize + ToSchema {
    /// The value.
    fn example() -> Self;

    /// Its name among the components; a generic type needs one for each argument.
    fn component_name() -> String {
        Self::name().into_owned()
    }

    /// The components that it refers to beyond those that its schema names itself: the
    /// arguments of a generic type.
    fn arguments(_schemas: &mut Vec<NamedSchema>) {}
}

/// What `count` does, on every list that has pages.
const COUNT: &str = "`true`: the first page tells in `X-Total-Count` how many objects you may read of \
    the list, where there are at most 1,000; without the header there are more.";

/// What a handler says of itself.
pub(crate) struct Doc {
    pub(crate) id: &'static str,
    pub(crate) tag: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) description: &'static str,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) body: Option<BodyDoc>,
    pub(crate) answers: Vec<AnswerDoc>,
    /// Status and codes beyond those that follow from the route.
    pub(crate) problems: Vec<(u16, &'static [&'static str])>,
    pub(crate) schemas: Vec<NamedSchema>,
    /// Whether the command is idempotent by key: optional or demanded.
    pub(crate) key: Option<bool>,
    /// Whether `If-Match` is demanded.
    pub(crate) if_match: Option<bool>,
}

/// A request's body.
pub(crate) struct BodyDoc {
    pub(crate) media_type: &'static str,
    /// Of the schema among the components.
    pub(crate) name: String,
    pub(crate) example: Value,
    pub(crate) required: bool,
    /// Whether the example passes the parser that requests pass.
    #[cfg_attr(not(test), expect(dead_code, reason = "asked by the test over all examples"))]
    pub(crate) check: fn(&Value) -> Result<(), String>,
}

/// A successful answer.
pub(crate) struct AnswerDoc {
    pub(crate) status: u16,
    pub(crate) description: &'static str,
    pub(crate) media_type: &'static str,
    pub(crate) name: Option<String>,
    pub(crate) example: Option<Value>,
    pub(crate) etag: bool,
}

impl Doc {
    pub(crate) fn new(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            tag,
            summary,
            description: "",
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            problems: Vec::new(),
            schemas: Vec::new(),
            key: None,
            if_match: None,
        }
    }

    /// More than the summary says.
    pub(crate) fn describe(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// An optional query parameter.
    pub(crate) fn query(mut self, name: &'static str, schema: Object, description: &str) -> Self {
        let parameter = parameter(name, ParameterIn::Query, Required::False, schema, description);
        self.parameters.push(parameter);
        self
    }

    /// A query parameter that has to be there.
    pub(crate) fn required_query(
        mut self,
        name: &'static str,
        schema: Object,
        description: &str,
    ) -> Self {
        let parameter = parameter(name, ParameterIn::Query, Required::True, schema, description);
        self.parameters.push(parameter);
        self
    }

    /// `limit` and `cursor`.
    pub(crate) fn paged(self) -> Self {
        let limit = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(operation::page::LIMIT_MAX))
            .default(Some(operation::page::LIMIT_DEFAULT.into()))
            .build();
        self.query("limit", limit, "Objects on a page.")
            .query("cursor", text(), "`next_cursor` of the page before, unchanged.")
            .query("count", boolean(), COUNT)
            .problem(400, &["malformed_request", "invalid_cursor"])
    }

    /// The body, with an example that the parser accepts.
    pub(crate) fn body<T: ToSchema + DeserializeOwned>(mut self, example: Value) -> Self {
        self.schemas_of::<T>();
        self.body = Some(BodyDoc {
            media_type: "application/json",
            name: T::name().into_owned(),
            example,
            required: true,
            check: |example| {
                let bytes = serde_json::to_vec(example).map_err(|error| error.to_string())?;
                crate::json::parse::<T>(&bytes).map(drop).map_err(|problem| problem.detail)
            },
        });
        self
    }

    /// Says that the body may be left out.
    pub(crate) fn body_optional(mut self) -> Self {
        if let Some(body) = &mut self.body {
            body.required = false;
        }
        self
    }

    /// A JSON answer.
    pub(crate) fn answers<T: Example>(mut self, status: u16, description: &'static str) -> Self {
        T::arguments(&mut self.schemas);
        self.answer_named(T::component_name(), status, description, &T::example())
    }

    /// A JSON answer with an example of its own.
    pub(crate) fn answer_with<T: Serialize + ToSchema>(
        self,
        status: u16,
        description: &'static str,
        example: &T,
    ) -> Self {
        self.answer_named(T::name().into_owned(), status, description, example)
    }

    fn answer_named<T: Serialize + ToSchema>(
        mut self,
        name: String,
        status: u16,
        description: &'static str,
        example: &T,
    ) -> Self {
        self.schemas.push((name.clone(), T::schema()));
        T::schemas(&mut self.schemas);
        self.answers.push(AnswerDoc {
            status,
            description,
            media_type: "application/json",
            name: Some(name),
            example: serde_json::to_value(example).ok(),
            etag: false,
        });
        self
    }

    /// An answer without a body.
    pub(crate) fn answers_nothing(self, description: &'static str) -> Self {
        self.answers_empty(204, description)
    }

    /// A file, of whichever media type was asked for.
    pub(crate) fn answers_file(self, description: &'static str) -> Self {
        self.answers_empty(200, description)
    }

    /// An answer without a body: it will be done.
    pub(crate) fn answers_accepted(self, description: &'static str) -> Self {
        self.answers_empty(202, description)
    }

    fn answers_empty(mut self, status: u16, description: &'static str) -> Self {
        let media_type = "application/json";
        self.answers.push(AnswerDoc {
            status,
            description,
            media_type,
            name: None,
            example: None,
            etag: false,
        });
        self
    }

    /// Says that the answer carries an `ETag`.
    pub(crate) fn etag(mut self) -> Self {
        self.answers.iter_mut().for_each(|answer| answer.etag = true);
        self
    }

    /// Says that `If-Match` is demanded.
    pub(crate) fn if_match(mut self) -> Self {
        self.if_match = Some(true);
        self
    }

    /// Says that `If-Match` is honoured where it is sent.
    pub(crate) fn honours_if_match(mut self) -> Self {
        self.if_match = Some(false);
        self
    }

    /// Says that money moves: `Idempotency-Key` is demanded.
    pub(crate) fn moves_money(mut self) -> Self {
        self.key = Some(true);
        self
    }

    /// Says that `Idempotency-Key` is honoured.
    pub(crate) fn idempotent(mut self) -> Self {
        self.key = Some(false);
        self
    }

    /// A status with the codes it may carry here.
    pub(crate) fn problem(mut self, status: u16, codes: &'static [&'static str]) -> Self {
        self.problems.push((status, codes));
        self
    }

    fn schemas_of<T: ToSchema>(&mut self) {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
    }
}

/// A parameter of the path, the query or a header.
pub(crate) fn parameter(
    name: &str,
    place: ParameterIn,
    required: Required,
    schema: impl Into<RefOr<Schema>>,
    description: &str,
) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .schema(Some(schema))
        .description(Some(description))
        .build()
}

/// Any text.
pub(crate) fn text() -> Object {
    Object::with_type(Type::String)
}

/// One of a closed list.
pub(crate) fn one_of<S: Into<Value>>(values: impl IntoIterator<Item = S>) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(values)).build()
}

/// `true` or `false`.
pub(crate) fn boolean() -> Object {
    Object::with_type(Type::Boolean)
}

/// A UUID.
pub(crate) fn uuid() -> Object {
    formatted(KnownFormat::Uuid)
}

/// An instant, RFC 3339.
pub(crate) fn instant() -> Object {
    formatted(KnownFormat::DateTime)
}

/// A day, ISO 8601.
pub(crate) fn date() -> Object {
    formatted(KnownFormat::Date)
}

/// An integer from 0.
pub(crate) fn whole_number() -> Object {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build()
}

fn formatted(format: KnownFormat) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(format)))
        .build()
}

/// A reference to a component.
pub(crate) fn reference(name: &str) -> RefOr<Schema> {
    Ref::from_schema_name(name).into()
}
