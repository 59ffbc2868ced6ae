//! What a handler is given: somebody signed in, and everything a page does with them.
//!
//! Refuses the signed-out: without a session there is no [`Visitor`] at all.

use std::sync::Arc;

use access::Permission;
use askama::Template;
use axum::{
    extract::{FromRef, FromRequestParts},
    response::{Html, IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header, request::Parts};
use identity::ConsoleSession;
use jiff::tz::TimeZone;
use operation::{Call, Command, OperationError, Refusal, RefusalKind, Reply, View};
use tenancy::OpContext;

use crate::{
    cookies,
    fault::{Answer, Fault},
    flash::Flash,
    frame::Visit,
    page::Page,
    paging::Binding,
    params::Params,
    state::Console,
};

/// Somebody signed in, asking for a page.
#[derive(Clone)]
pub(crate) struct Visitor {
    pub(crate) console: Console,
    pub(crate) visit: Arc<Visit>,
    pub(crate) session: ConsoleSession,
}

impl<S: Sync> FromRequestParts<S> for Visitor
where
    Console: FromRef<S>,
{
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let visit = parts.extensions.get::<Arc<Visit>>().cloned().ok_or_else(Fault::internal)?;
        let session = visit.session.clone().ok_or_else(|| {
            Fault::from(Refusal::unauthenticated("invalid_token", "Sign in to go on"))
        })?;
        Ok(Self { console: Console::from_ref(state), visit, session })
    }
}

impl Visitor {
    /// The context of every operation of this request.
    pub(crate) fn context(&self) -> &OpContext {
        &self.session.context
    }

    /// The frame of a page.
    pub(crate) fn page(&self, title: impl Into<String>) -> Page {
        Page::of(&self.console, &self.visit, title)
    }

    /// The tenant's zone; UTC where it names none that we know.
    pub(crate) fn zone(&self) -> TimeZone {
        TimeZone::get(&self.context().tenant.time_zone).unwrap_or(TimeZone::UTC)
    }

    /// Whether the person holds a permission on at least one object: to draw a button or not.
    pub(crate) fn may(&self, permission: Permission) -> bool {
        !self.console.operations.scope(self.context(), permission).is_none()
    }

    /// Reads a view under policy.
    pub(crate) async fn read<V: View>(&self, view: &V) -> Result<V::Output, Fault> {
        Ok(self.console.operations.read(self.context(), view).await?)
    }

    /// Runs a command that is a reading (it opens personal data and leaves a record).
    pub(crate) async fn open<C: Command>(&self, command: C) -> Result<C::Output, Fault> {
        Ok(self.call(command, None).await?.output)
    }

    /// Runs a command of a form. The inner refusal is one that the form can show
    /// (`Form::refused`); everything else is a page of its own. `once` is what
    /// [`Visitor::once`] gave the form: a form sent twice is done once.
    pub(crate) async fn attempt<C: Command>(
        &self,
        command: C,
        once: Option<String>,
    ) -> Result<Result<Reply<C::Output>, Refusal>, Fault> {
        match self.call(command, once).await {
            Ok(reply) => Ok(Ok(reply)),
            Err(OperationError::Refused(refusal)) if is_for_the_form(refusal.kind) => {
                Ok(Err(refusal))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn call<C: Command>(
        &self,
        command: C,
        idempotency_key: Option<String>,
    ) -> Result<Reply<C::Output>, OperationError> {
        let call = Call { context: self.context().clone(), idempotency_key, command };
        self.console.operations.run_one(call).await
    }

    /// A new key for a form that may be done once: put it into the hidden field `once`.
    pub(crate) fn once(&self) -> String {
        self.console.clock.new_id().to_string()
    }

    /// The key that a form brought back; 400 where somebody took it out.
    pub(crate) fn once_of(&self, form: &Params) -> Result<String, Fault> {
        let _ = self;
        let key = form.id("once")?.ok_or_else(|| Fault::malformed("once"))?;
        Ok(key.to_string())
    }

    /// The page of a list that the address asks for.
    pub(crate) async fn page_request(
        &self,
        path: &str,
        params: &Params,
    ) -> Result<operation::PageRequest, Fault> {
        let keys = self.keys().await?;
        Binding { context: self.context(), key: keys.cursor(), path, params }.request()
    }

    /// Where the next page of a list is, if there is one.
    pub(crate) async fn next_page(
        &self,
        path: &str,
        params: &Params,
        position: Option<&str>,
    ) -> Result<Option<String>, Fault> {
        let keys = self.keys().await?;
        Ok(Binding { context: self.context(), key: keys.cursor(), path, params }.next(position))
    }

    async fn keys(&self) -> Result<Arc<tenancy::keyring::TenantKeys>, Fault> {
        let database = self.console.operations.database();
        let keys = self.console.keyring.tenant(database, self.context()).await;
        keys.map_err(|error| Fault::from(tenancy::DbError::from(error)))
    }

    /// 200 and a page.
    pub(crate) fn show(&self, template: &impl Template) -> Answer {
        self.show_as(StatusCode::OK, template)
    }

    /// A page under another status: 422 for a form that came back.
    pub(crate) fn show_as(&self, status: StatusCode, template: &impl Template) -> Answer {
        let _ = self;
        Ok((status, Html(template.render()?)).into_response())
    }

    /// Whether htmx asks for the list alone: show the fragment then.
    pub(crate) fn wants_fragment(&self) -> bool {
        self.visit.is_fragment
    }

    /// 303 to another page of ours, after a change.
    pub(crate) fn redirect(&self, to: &str) -> Answer {
        let _ = self;
        see_other(to)
    }

    /// As `redirect`, with a toast on arrival.
    pub(crate) fn redirect_saying(&self, to: &str, message: impl Into<String>) -> Answer {
        let mut response = self.redirect(to)?;
        let cookie = Flash::new(message).cookie();
        let keep = cookies::Keep::Seconds(60);
        cookies::set(response.headers_mut(), cookies::FLASH, &cookie, keep);
        Ok(response)
    }
}

/// 303 to a path of our own.
pub(crate) fn see_other(to: &str) -> Result<Response, Fault> {
    let to = HeaderValue::from_str(own_path(to).unwrap_or("/")).map_err(|_| Fault::internal())?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response())
}

/// A path that stays on this host whoever wrote it; none otherwise. Browsers read
/// backslashes as slashes and drop tabs and line breaks, so none of them may be there.
pub(crate) fn own_path(text: &str) -> Option<&str> {
    let sane = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let rooted = text.starts_with('/') && !text.starts_with("//");
    (sane && rooted && text.len() <= 1_024).then_some(text)
}

const fn is_for_the_form(kind: RefusalKind) -> bool {
    matches!(
        kind,
        RefusalKind::Malformed
            | RefusalKind::Rule
            | RefusalKind::Conflict
            | RefusalKind::PreconditionFailed
    )
}

#[cfg(test)]
mod tests {
    use super::own_path;

    #[test]
    fn only_own_paths_are_gone_to() {
        for path in ["/", "/accounts", "/accounts/1?q=a%20b&x=//evil.example"] {
            assert_eq!(own_path(path), Some(path));
        }
        let evil = [
            "",
            "accounts",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\n/evil.example",
            " //evil.example",
            "/a b",
            "/\u{a0}x",
        ];
        for path in evil {
            assert_eq!(own_path(path), None, "{path:?}");
        }
        assert_eq!(own_path(&format!("/{}", "a".repeat(2_000))), None);
    }
}
