//! Owns the OpenAPI 3.1 document: the route table, described. What follows from a
//! route's kind (who may knock, ids in the path, a body, a key, limits) is written
//! by rule here, once.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::openapi::{
    ComponentsBuilder, Content, ContentBuilder, HttpMethod, InfoBuilder, License, OpenApi,
    OpenApiBuilder, PathItem, Paths, Ref, Required, Response, ResponseBuilder, SecurityRequirement,
    extensions::Extensions,
    header::Header,
    path::{Operation, OperationBuilder, Parameter, ParameterIn},
    request_body::{RequestBody, RequestBodyBuilder},
    security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa::{PartialSchema as _, ToSchema as _};

use crate::{
    openapi_parts::{AnswerDoc, BodyDoc, Doc, NamedSchema, parameter, reference, text, uuid},
    problem::PROBLEM_JSON,
    route::{Access, Route, SignatureDemand},
    routes,
    wire::problem::{DETAILS, ProblemBody, ServerProblemBody, problem_example},
};

const SCHEME: &str = "access_token";

/// The document of all routes.
pub fn openapi() -> OpenApi {
    let mut paths = Paths::new();
    let mut schemas: BTreeMap<String, _> = BTreeMap::new();
    let problems: [NamedSchema; 2] = [
        (ProblemBody::name().into(), ProblemBody::schema()),
        (ServerProblemBody::name().into(), ServerProblemBody::schema()),
    ];
    schemas.extend(problems);
    let mut responses = BTreeMap::new();
    let mut nested = Vec::new();
    ProblemBody::schemas(&mut nested);
    schemas.extend(nested);
    for route in routes::table() {
        let doc = (route.doc)();
        let (operation, said) = operation(&route, &doc);
        responses.extend(said);
        schemas.extend(doc.schemas);
        let item = PathItem::new(method(&route.method), operation);
        match paths.paths.get_mut(route.path) {
            Some(known) => known.merge_operations(item),
            None => {
                paths.paths.insert(route.path.to_owned(), item);
            }
        }
    }
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The `access_token` of `POST /v1/auth/login`."))
        .build();
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .responses_from_iter(responses)
        .security_scheme(SCHEME, SecurityScheme::Http(bearer))
        .build();
    let problems: serde_json::Map<_, _> =
        DETAILS.into_iter().map(|(code, detail)| (code.to_owned(), json!(detail))).collect();
    let ours = Extensions::from_iter([("x-strongroom", json!({ "problems": problems }))]);
    let mut document =
        OpenApiBuilder::new().info(info()).paths(paths).components(Some(components)).build();
    document.extensions = Some(ours);
    document
}

fn info() -> utoipa::openapi::Info {
    let description = "Amounts are integers in minor units of their currency; rates are decimal \
        strings; times are RFC 3339 in UTC. Errors are `application/problem+json` with a stable \
        `code`. `/api/v1/…` answers as `/v1/…`. Lists are pages: pass `next_cursor` back as \
        `cursor`. Objects with a `version` carry it as `ETag`; changes demand it as `If-Match`. \
        A request may be signed (RFC 9421) with a key of `/v1/client-keys`, and has to be where \
        `x-strongroom` names a `signature` and the tenant's policy wants it. One signature covers \
        `@method`, `@target-uri` (or `@authority`, `@path` and `@query`), `authorization`, \
        `content-digest` (RFC 9530) of a body, and `idempotency-key` and `if-match` where they \
        are sent; it says `created` (at most 300 seconds off), `keyid` and a `nonce` that was \
        never used.";
    let mut license = License::new("Apache-2.0");
    license.identifier = Some("Apache-2.0".to_owned());
    InfoBuilder::new()
        .title("Strongroom")
        .version("1")
        .description(Some(description))
        .license(Some(license))
        .build()
}

fn method(method: &http::Method) -> HttpMethod {
    match method.as_str() {
        "POST" => HttpMethod::Post,
        "PATCH" => HttpMethod::Patch,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

/// An operation and the problem responses that it refers to.
fn operation(route: &Route, doc: &Doc) -> (Operation, Vec<(String, Response)>) {
    let mut operation = OperationBuilder::new()
        .operation_id(Some(doc.id))
        .tag(doc.tag)
        .summary(Some(doc.summary))
        .extensions(Some(extension(route)));
    if !doc.description.is_empty() {
        operation = operation.description(Some(doc.description));
    }
    for parameter in parameters(route, doc) {
        operation = operation.parameter(parameter);
    }
    if let Some(body) = &doc.body {
        operation = operation.request_body(Some(request_body(body)));
    }
    for answer in &doc.answers {
        operation = operation.response(answer.status.to_string(), answer_of(answer, doc));
    }
    let mut said = Vec::new();
    for (status, codes) in problems(route, doc) {
        // Named by what they say, so that operations that say the same share one.
        let name = format!("{status}.{}", codes.join("."));
        operation = operation.response(status.to_string(), Ref::from_response_name(&name));
        said.push((name, problem(status, &codes)));
    }
    let operation = match route.access {
        // An empty list is how OpenAPI says that nothing is needed.
        Access::Public(_) => operation.securities(Some([])),
        _ => operation.security(SecurityRequirement::new::<_, [&str; 0], &str>(SCHEME, [])),
    };
    (operation.build(), said)
}

/// What our own tools read: who may knock, and the class of its limits.
fn extension(route: &Route) -> Extensions {
    let access = match route.access {
        Access::Public(reason) => json!({ "public": reason }),
        Access::SignedIn => json!("signed_in"),
        Access::Needs(permission) => json!({ "permission": permission.as_str() }),
        Access::NeedsOne(permissions) => {
            let names: Vec<_> = permissions.iter().map(|permission| permission.as_str()).collect();
            json!({ "permission": names.join(" or ") })
        }
    };
    let mut about =
        json!({ "access": access, "rate_class": route.class.as_str(), "module": route.module });
    let demand = routes::signature_demand(&route.method, route.path);
    if demand != SignatureDemand::Never {
        about["signature"] = demand.as_str().into();
    }
    Extensions::from_iter([("x-strongroom", about)])
}

fn parameters(route: &Route, doc: &Doc) -> Vec<Parameter> {
    let names = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<_> = names
        .map(|name| match name {
            "tenant" => {
                parameter(name, ParameterIn::Path, Required::True, text(), "The tenant's slug.")
            }
            _ => parameter(name, ParameterIn::Path, Required::True, uuid(), "The object's id."),
        })
        .collect();
    all.extend(doc.parameters.iter().cloned());
    if let Some(demanded) = doc.key {
        let description = "1 to 255 visible ASCII characters, bare or quoted. The same key with \
            the same request gives the same answer; with another request it is refused.";
        let required = if demanded { Required::True } else { Required::False };
        all.push(parameter("Idempotency-Key", ParameterIn::Header, required, text(), description));
    }
    if let Some(demanded) = doc.if_match {
        let description = "The `ETag` of the object as it was read, or its `version` in quotes.";
        let required = if demanded { Required::True } else { Required::False };
        all.push(parameter("If-Match", ParameterIn::Header, required, text(), description));
    }
    all
}

fn request_body(body: &BodyDoc) -> RequestBody {
    let content = ContentBuilder::new()
        .schema(Some(reference(&body.name)))
        .example(Some(body.example.clone()))
        .build();
    let required = if body.required { Required::True } else { Required::False };
    RequestBodyBuilder::new().content(body.media_type, content).required(Some(required)).build()
}

fn answer_of(answer: &AnswerDoc, doc: &Doc) -> Response {
    let mut response = ResponseBuilder::new().description(answer.description);
    if let Some(name) = &answer.name {
        let content =
            ContentBuilder::new().schema(Some(reference(name))).example(answer.example.clone());
        response = response.content(answer.media_type, content.build());
    }
    response = response.header("X-Request-ID", header("The request's id, yours or ours."));
    if answer.etag {
        response = response.header("ETag", header("The object's `version`, quoted."));
    }
    if doc.parameters.iter().any(|parameter| parameter.name == "count") {
        let description = "How many objects the list has, where `count` asks and they are few.";
        response = response.header("X-Total-Count", header(description));
    }
    if doc.key.is_some() {
        let description = "`true` where this is the stored answer of an earlier request.";
        response = response.header("Idempotency-Replayed", header(description));
    }
    response.build()
}

fn header(description: &str) -> Header {
    let mut header = Header::new(text());
    header.description = Some(description.to_owned());
    header
}

/// Every status that the route may answer with beside success, and its codes.
fn problems(route: &Route, doc: &Doc) -> BTreeMap<u16, Vec<&'static str>> {
    let has_id = route.path.contains('{') && !route.path.contains("{tenant}");
    let has_query =
        doc.parameters.iter().any(|parameter| parameter.parameter_in == ParameterIn::Query);
    // condition, status, codes
    let demand = routes::signature_demand(&route.method, route.path);
    let rules: [(bool, u16, &[&'static str]); 21] = [
        (has_id || has_query, 400, &["malformed_request"]),
        (doc.body.is_some(), 400, &["malformed_request", "malformed_json"]),
        (doc.key == Some(true), 400, &["idempotency_key_required"]),
        (
            !matches!(route.access, Access::Public(_)),
            401,
            &["invalid_token", "token_expired", "token_revoked", "signature_invalid"],
        ),
        (demand != SignatureDemand::Never, 401, &["signature_required"]),
        (
            matches!(route.access, Access::Needs(_) | Access::NeedsOne(_)),
            403,
            &["permission_denied"],
        ),
        (
            !matches!(route.access, Access::Public(_)) && !routes::is_open_after_expiry(route.path),
            403,
            &["password_expired"],
        ),
        (
            !matches!(route.access, Access::Public(_))
                && !routes::is_open_with_spent_codes(route.path),
            403,
            &["backup_codes_due"],
        ),
        (has_id || route.path.contains("{tenant}"), 404, &["not_found"]),
        (route.module == "banking", 404, &["module_not_enabled"]),
        (doc.key.is_some(), 409, &["idempotency_in_flight"]),
        (doc.body.is_some(), 408, &["request_timeout"]),
        (doc.if_match.is_some(), 412, &["version_conflict"]),
        (doc.body.is_some(), 413, &["body_too_large"]),
        (doc.body.is_some(), 415, &["unsupported_media_type"]),
        (doc.body.is_some(), 422, &["validation_failed"]),
        (doc.key.is_some(), 422, &["idempotency_key_reused"]),
        (doc.if_match == Some(true), 428, &["precondition_required"]),
        (true, 429, &["rate_limited"]),
        (true, 500, &["internal_error"]),
        (true, 503, &["unavailable"]),
    ];
    let mut all: BTreeMap<u16, Vec<&'static str>> = BTreeMap::new();
    let applying =
        rules.iter().filter(|(applies, ..)| *applies).map(|(_, status, codes)| (*status, *codes));
    for (status, codes) in doc.problems.iter().copied().chain(applying) {
        let known = all.entry(status).or_default();
        known
            .extend(codes.iter().copied().filter(|code| !known.contains(code)).collect::<Vec<_>>());
    }
    all
}

fn problem(status: u16, codes: &[&'static str]) -> Response {
    let schema = if status >= 500 { ServerProblemBody::name() } else { ProblemBody::name() };
    let example = problem_example(status, codes.first().copied().unwrap_or("malformed_request"));
    let content: Content =
        ContentBuilder::new().schema(Some(reference(&schema))).example(Some(example)).build();
    let codes: Vec<_> = codes.iter().map(|code| format!("`{code}`")).collect();
    let mut response = ResponseBuilder::new()
        .description(codes.join(", "))
        .content(PROBLEM_JSON, content)
        .header("X-Request-ID", header("The request's id, yours or ours."));
    if matches!(status, 429 | 503) {
        response = response.header("Retry-After", header("Seconds to wait."));
    }
    response.build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::collections::HashSet;

    use crate::routes;

    #[test]
    fn every_request_example_passes_the_parser() {
        for route in routes::table() {
            let doc = (route.doc)();
            if let Some(body) = doc.body {
                (body.check)(&body.example).unwrap_or_else(|error| panic!("{}: {error}", doc.id));
            }
            assert!(!doc.answers.is_empty(), "{} answers nothing", doc.id);
        }
    }

    #[test]
    fn operation_ids_are_unique() {
        let mut seen = HashSet::new();
        for route in routes::table() {
            assert!(seen.insert((route.doc)().id), "{}", route.path);
        }
    }

    #[test]
    fn the_document_is_the_committed_one() {
        let value = serde_json::to_value(super::openapi()).unwrap();
        let text = serde_json::to_string_pretty(&value).unwrap();
        insta::assert_snapshot!("openapi", text);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let text = serde_json::to_string(&super::openapi()).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        for kind in ["schemas", "responses"] {
            for part in text.split(&format!("#/components/{kind}/")).skip(1) {
                let name = part.split('"').next().unwrap();
                assert!(document["components"][kind].get(name).is_some(), "{name}");
            }
        }
    }
}
