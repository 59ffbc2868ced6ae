//! The reading of a document, field by field, and that nothing of it is drawn as HTML.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use askama::Template as _;
use serde_json::{Value, json};

use super::{
    curl::curl,
    document::{Access, Reference},
    pages::{Errors, Frame, Index, OperationPage, prose},
};

fn document() -> Value {
    json!({
        "info": { "description": "Amounts are integers." },
        "x-strongroom": { "problems": { "too_big": "It is too big" } },
        "paths": {
            "/v1/things/{id}": {
                "delete": {
                    "tags": ["things"], "operationId": "dropThing", "summary": "Drops it",
                    "x-strongroom": { "access": "signed_in", "rate_class": "write", "module": "m" },
                    "responses": { "204": { "description": "Gone." } }
                }
            },
            "/v1/things": {
                "post": {
                    "tags": ["things"], "operationId": "makeThing", "summary": "Makes a thing",
                    "x-strongroom": {
                        "access": { "permission": "thing:create" },
                        "rate_class": "write", "module": "m"
                    },
                    "parameters": [
                        { "name": "as_of", "in": "query", "required": true,
                          "schema": { "type": "string", "format": "date" } },
                        { "name": "Idempotency-Key", "in": "header", "required": true,
                          "schema": { "type": "string" } },
                        { "name": "If-Match", "in": "header", "required": true,
                          "schema": { "type": "string" } }
                    ],
                    "requestBody": { "required": true, "content": { "application/json": {
                        "schema": { "$ref": "#/components/schemas/Thing" },
                        "example": { "name": "it's" }
                    } } },
                    "responses": {
                        "201": { "description": "Made.", "content": { "application/json": {
                            "schema": { "$ref": "#/components/schemas/Thing" }
                        } } },
                        "422": { "$ref": "#/components/responses/refused" }
                    }
                }
            }
        },
        "components": {
            "schemas": {
                "Thing": {
                    "type": "object", "required": ["name"], "additionalProperties": false,
                    "properties": {
                        "amount": { "type": ["integer", "null"], "format": "int64",
                                    "minimum": 1, "maximum": 9 },
                        "name": { "type": "string", "enum": ["a", "b"] },
                        "parts": { "type": "array",
                                   "items": { "$ref": "#/components/schemas/Thing" } },
                        "whole": { "oneOf": [
                            { "type": "null" }, { "$ref": "#/components/schemas/Owner" }
                        ] }
                    }
                },
                "Owner": { "type": "object", "properties": {
                    "id": { "type": "string", "format": "uuid", "description": "Whose." }
                } }
            },
            "responses": {
                "refused": {
                    "description": "`too_big`, `not_found`",
                    "content": { "application/problem+json": { "example": {
                        "code": "too_big", "detail": "It is too big"
                    } } }
                }
            }
        }
    })
}

#[test]
fn a_schema_becomes_rows_with_required_fields_first_and_ends_where_it_contains_itself() {
    let reference = Reference::read(&document());
    let (_, operation) = reference.operation("makeThing").unwrap();
    let body = operation.body.as_ref().unwrap();
    assert!(body.is_strict && body.is_required);
    let rows = |path: &str| body.fields.iter().find(|field| field.path == path).unwrap();
    assert_eq!(body.fields[0].path, "name");
    assert!(body.fields[0].is_required);
    assert_eq!(body.fields[0].limits, ["one of `a`, `b`"]);
    assert_eq!(rows("amount").kind, "integer or null");
    assert_eq!(rows("amount").limits, ["at least `1`", "at most `9`"]);
    assert_eq!(rows("parts[]").kind, "array of object");
    assert_eq!((rows("parts[].name").depth, rows("parts[].name").is_required), (1, true));
    assert_eq!(rows("whole").kind, "object or null");
    assert_eq!(rows("whole.id").kind, "string, uuid");
    assert_eq!(rows("whole.id").description, "Whose.");
    assert!(body.fields.iter().all(|field| field.depth <= 6));
}

#[test]
fn every_code_is_gathered_with_its_statuses_and_operations() {
    let reference = Reference::read(&document());
    let names: Vec<_> = reference.codes.iter().map(|code| code.name.as_str()).collect();
    assert_eq!(names, ["not_found", "too_big"]);
    let too_big = &reference.codes[1];
    assert_eq!((too_big.title.as_str(), too_big.detail.as_str()), ("Too big", "It is too big"));
    assert_eq!(too_big.operations, [("makeThing".to_owned(), "Makes a thing".to_owned())]);
    assert!(reference.codes[0].detail.is_empty(), "the document tells none");
}

#[test]
fn a_search_needs_every_word_wherever_it_stands() {
    let reference = Reference::read(&document());
    let table = [
        ("", 2),
        ("things", 2),
        ("delete", 1),
        ("THING:CREATE", 1),
        ("makes post", 1),
        ("makes delete", 0),
        ("<script>", 0),
    ];
    for (query, count) in table {
        let found: usize = reference.search(query).iter().map(|(_, found)| found.len()).sum();
        assert_eq!(found, count, "{query}");
    }
}

#[test]
fn a_curl_carries_all_that_is_demanded() {
    let reference = Reference::read(&document());
    let (_, make) = reference.operation("makeThing").unwrap();
    let expected = "curl -sS -X POST \"https://b.example/v1/things?as_of=$AS_OF\" \\\n  \
        -H \"Authorization: Bearer $TOKEN\" \\\n  \
        -H \"Idempotency-Key: $(uuidgen)\" \\\n  \
        -H 'If-Match: \"1\"' \\\n  \
        -H 'Content-Type: application/json' \\\n  \
        -d '{\n  \"name\": \"it'\\''s\"\n}'";
    assert_eq!(curl(make, "https://b.example"), expected);
    let (_, drop) = reference.operation("dropThing").unwrap();
    assert_eq!(drop.access, Access::SignedIn);
    assert!(curl(drop, "https://b.example").contains("\"https://b.example/v1/things/$ID\""));
}

#[test]
fn prose_knows_code_and_nothing_else() {
    let table = [
        ("`a<b>` & <i>x</i>", "<code>a&lt;b&gt;</code> &amp; &lt;i&gt;x&lt;/i&gt;"),
        ("`open", "<code>open</code>"),
        ("`</code><script>`", "<code>&lt;/code&gt;&lt;script&gt;</code>"),
    ];
    for (text, html) in table {
        assert_eq!(prose(text).as_str(), html);
    }
}

/// Whoever writes the document writes no page: each of its texts is hostile here.
#[test]
fn no_text_of_a_document_becomes_markup() {
    const HOSTILE: &str = "<script>alert(1)</script>`<img src=x onerror=alert(2)>`\"'><b>";
    let schema = json!({ "type": "object", "required": [HOSTILE], "properties": { HOSTILE: {
        "type": HOSTILE, "format": HOSTILE, "description": HOSTILE, "pattern": HOSTILE,
        "enum": [HOSTILE], "default": HOSTILE
    } } });
    let content = json!({ HOSTILE: { "schema": schema, "example": { HOSTILE: HOSTILE } } });
    let parameters = ["path", "query", "header"].map(|place| {
        json!({
            "name": HOSTILE, "in": place, "required": true, "description": HOSTILE,
            "schema": { "type": HOSTILE, "pattern": HOSTILE }
        })
    });
    let document = json!({
        "info": { "description": HOSTILE },
        "x-strongroom": { "problems": { "<script>alert(1)</script>": HOSTILE } },
        "paths": { HOSTILE: { HOSTILE: {
            "tags": [HOSTILE], "operationId": HOSTILE, "summary": HOSTILE, "description": HOSTILE,
            "x-strongroom": {
                "access": { "permission": HOSTILE }, "rate_class": HOSTILE, "module": HOSTILE
            },
            "parameters": parameters,
            "requestBody": { "content": content },
            "responses": {
                "200": {
                    "description": HOSTILE, "content": content,
                    "headers": { HOSTILE: { "description": HOSTILE } }
                },
                "400": { "description": "`<script>alert(1)</script>`", "content": content }
            }
        } } }
    });
    let reference = Arc::new(Reference::read(&document));
    let page = crate::kit::gallery::page();
    let frame = &Frame { page, reference: Arc::clone(&reference), area: HOSTILE.to_owned() };
    let (area, operation) = reference.operation(HOSTILE).unwrap();
    let curl = curl(operation, "https://b.example");
    let pages = [
        OperationPage { frame, area, operation, curl }.render().unwrap(),
        Index { frame, query: HOSTILE.to_owned(), found: reference.search("") }.render().unwrap(),
        Errors { frame, codes: &reference.codes }.render().unwrap(),
    ];
    for html in pages {
        assert!(html.contains("&lt;script&gt;") || html.contains("&#60;script&#62;"), "{html}");
        for forbidden in ["<script>", "</script>`", "<img", "<b>", "\"'>"] {
            assert!(!html.contains(forbidden), "{forbidden}:\n{html}");
        }
    }
}

#[test]
fn a_document_that_says_nothing_is_an_empty_reference() {
    for document in [Value::Null, json!({}), json!({ "paths": { "/x": { "get": {} } } })] {
        let reference = Reference::read(&document);
        assert!(reference.codes.is_empty());
    }
}
