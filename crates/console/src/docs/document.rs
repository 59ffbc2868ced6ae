//! Owns the reading of the OpenAPI document into what pages show: areas, operations,
//! their parameters, bodies, answers and problem codes. Refuses to know who serves the
//! document; what it does not say is left out, never made up.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::schema::{self, Field};

/// The interface, as its pages show it.
#[derive(Debug, Default)]
pub struct Reference {
    /// Sentences on the whole.
    pub(super) about: String,
    pub(super) areas: Vec<Area>,
    pub(super) codes: Vec<Code>,
}

/// Operations on one kind of object.
#[derive(Debug)]
pub(super) struct Area {
    /// As in addresses.
    pub(super) name: String,
    pub(super) label: String,
    pub(super) operations: Vec<Operation>,
}

/// A method of a path.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) id: String,
    /// Capitals.
    pub(super) method: String,
    pub(super) path: String,
    pub(super) summary: String,
    pub(super) description: String,
    pub(super) access: Access,
    pub(super) rate_class: String,
    pub(super) module: String,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
    pub(super) answers: Vec<Answer>,
    pub(super) problems: Vec<Problem>,
}

/// Who may knock.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody, and why.
    Public(String),
    SignedIn,
    /// Whoever the policies give this permission.
    Permission(String),
}

#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    /// `path`, `query` or `header`.
    pub(super) place: String,
    pub(super) is_required: bool,
    pub(super) kind: String,
    pub(super) limits: Vec<String>,
    pub(super) description: String,
}

#[derive(Debug)]
pub(super) struct Body {
    pub(super) media_type: String,
    pub(super) is_required: bool,
    pub(super) is_strict: bool,
    pub(super) fields: Vec<Field>,
    pub(super) example: Option<Value>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: String,
    pub(super) description: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) fields: Vec<Field>,
    pub(super) example: Option<Value>,
}

/// A status that refuses, and the codes it comes with.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: String,
    pub(super) codes: Vec<String>,
    pub(super) example: Option<Value>,
}

/// A problem code, wherever it occurs.
#[derive(Debug, Default)]
pub(super) struct Code {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) statuses: BTreeSet<String>,
    /// The sentence it comes with, where the document tells one.
    pub(super) detail: String,
    /// Ids and summaries of the operations that answer it.
    pub(super) operations: Vec<(String, String)>,
}

impl Reference {
    /// Reads an OpenAPI 3.1 document.
    pub fn read(document: &Value) -> Self {
        let mut areas: BTreeMap<String, Area> = BTreeMap::new();
        for (path, item) in members(&document["paths"]) {
            for (method, operation) in members(item) {
                let name = text(&operation["tags"][0]);
                let area = areas.entry(name.clone()).or_insert_with(|| Area {
                    label: sentence(&name),
                    name,
                    operations: Vec::new(),
                });
                area.operations.push(Operation::read(document, path, method, operation));
            }
        }
        let order = |method: &str| {
            let known = ["GET", "POST", "PUT", "PATCH", "DELETE"];
            known.iter().position(|&name| name == method)
        };
        for area in areas.values_mut() {
            area.operations.sort_by(|left, right| {
                (&left.path, order(&left.method)).cmp(&(&right.path, order(&right.method)))
            });
        }
        let areas: Vec<_> = areas.into_values().collect();
        let codes = codes(&areas, &document["x-strongroom"]["problems"]);
        Self { about: text(&document["info"]["description"]), areas, codes }
    }

    /// The operation of that id.
    pub(super) fn operation(&self, id: &str) -> Option<(&Area, &Operation)> {
        let all = self
            .areas
            .iter()
            .flat_map(|area| area.operations.iter().map(move |operation| (area, operation)));
        all.into_iter().find(|(_, operation)| operation.id == id)
    }

    /// The operations that hold every word, by area; all where there is no word.
    pub(super) fn search(&self, query: &str) -> Vec<(&Area, Vec<&Operation>)> {
        let words: Vec<_> = query.split_whitespace().map(str::to_lowercase).collect();
        let matching = self.areas.iter().map(|area| {
            let found = area.operations.iter().filter(|operation| {
                let haystack = operation.haystack(area);
                words.iter().all(|word| haystack.contains(word))
            });
            (area, found.collect::<Vec<_>>())
        });
        matching.filter(|(_, found)| !found.is_empty()).collect()
    }
}

impl Operation {
    fn read(document: &Value, path: &str, method: &str, operation: &Value) -> Self {
        let ours = &operation["x-strongroom"];
        let (answers, problems) = responses(document, &operation["responses"]);
        Self {
            id: text(&operation["operationId"]),
            method: method.to_uppercase(),
            path: path.to_owned(),
            summary: text(&operation["summary"]),
            description: text(&operation["description"]),
            access: access(&ours["access"]),
            rate_class: text(&ours["rate_class"]),
            module: text(&ours["module"]),
            parameters: list(&operation["parameters"]).map(parameter).collect(),
            body: body(document, &operation["requestBody"]),
            answers,
            problems,
        }
    }

    /// Everything a search looks into, in small letters.
    pub(super) fn haystack(&self, area: &Area) -> String {
        let permission = match &self.access {
            Access::Permission(name) => name.as_str(),
            _ => "",
        };
        let parts =
            [&area.label, &self.method, &self.path, &self.summary, &self.description, &self.id];
        let parts: Vec<&str> = parts.into_iter().map(String::as_str).chain([permission]).collect();
        parts.join(" ").to_lowercase()
    }

    /// Its `Idempotency-Key`: demanded, honoured, or not read.
    pub(super) fn key(&self) -> Option<bool> {
        let key = self.parameters.iter().find(|parameter| parameter.name == "Idempotency-Key");
        key.map(|parameter| parameter.is_required)
    }

    /// Whether its answer is a page of a list.
    pub(super) fn is_paged(&self) -> bool {
        self.parameters.iter().any(|parameter| parameter.name == "cursor")
    }

    /// Whether a change must say which version it changes.
    pub(super) fn needs_version(&self) -> bool {
        self.parameters.iter().any(|parameter| parameter.name == "If-Match")
    }
}

fn access(value: &Value) -> Access {
    match (&value["public"], &value["permission"]) {
        (Value::String(reason), _) => Access::Public(reason.clone()),
        (_, Value::String(permission)) => Access::Permission(permission.clone()),
        _ => Access::SignedIn,
    }
}

fn parameter(value: &Value) -> Parameter {
    Parameter {
        name: text(&value["name"]),
        place: text(&value["in"]),
        is_required: value["required"] == true,
        kind: schema::kind(&value["schema"]),
        limits: schema::limits(&value["schema"]),
        description: text(&value["description"]),
    }
}

fn body(document: &Value, value: &Value) -> Option<Body> {
    let (media_type, content) = members(&value["content"]).next()?;
    let resolved = schema::resolved(document, &content["schema"]);
    Some(Body {
        media_type: media_type.to_owned(),
        is_required: value["required"] == true,
        is_strict: resolved["additionalProperties"] == false,
        fields: schema::fields(document, &content["schema"]),
        example: content.get("example").cloned(),
    })
}

fn responses(document: &Value, value: &Value) -> (Vec<Answer>, Vec<Problem>) {
    let (mut answers, mut problems) = (Vec::new(), Vec::new());
    for (status, response) in members(value) {
        let response = schema::resolved(document, response);
        let content = members(&response["content"]).next().map(|(_, content)| content);
        let example = content.and_then(|content| content.get("example")).cloned();
        if status >= "400" {
            // Every code stands in backquotes, and nothing else does.
            let description = text(&response["description"]);
            let codes = description.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            problems.push(Problem { status: status.to_owned(), codes, example });
        } else {
            let headers = members(&response["headers"])
                .map(|(name, header)| (name.to_owned(), text(&header["description"])));
            let fields = content.map(|content| schema::fields(document, &content["schema"]));
            answers.push(Answer {
                status: status.to_owned(),
                description: text(&response["description"]),
                headers: headers.collect(),
                fields: fields.unwrap_or_default(),
                example,
            });
        }
    }
    (answers, problems)
}

/// `details`: the sentence of each code that always says the same.
fn codes(areas: &[Area], details: &Value) -> Vec<Code> {
    let mut all: BTreeMap<String, Code> = BTreeMap::new();
    for operation in areas.iter().flat_map(|area| &area.operations) {
        for problem in &operation.problems {
            for name in &problem.codes {
                let code = all.entry(name.clone()).or_insert_with(|| Code {
                    name: name.clone(),
                    title: sentence(name),
                    ..Code::default()
                });
                code.statuses.insert(problem.status.clone());
                let here = (operation.id.clone(), operation.summary.clone());
                if code.operations.last() != Some(&here) {
                    code.operations.push(here);
                }
            }
        }
    }
    for code in all.values_mut() {
        code.detail = text(&details[&code.name]);
    }
    all.into_values().collect()
}

/// `lower_snake_case` or `kebab-case` as words.
fn sentence(name: &str) -> String {
    let spaced = name.replace(['_', '-'], " ");
    let mut letters = spaced.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(super) fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
