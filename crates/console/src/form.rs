//! Owns a form between two drawings: what was typed, and what is wrong with it.
//!
//! Refuses to check anything: rules answer with a refusal, whose fields land here.

use operation::{FieldError, Refusal};

use crate::params::Params;

/// A form as it is drawn: empty at first, or with its texts and faults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form {
    values: Params,
    errors: Vec<FieldError>,
    summary: Option<String>,
}

impl Form {
    /// A form to be filled, perhaps with texts that the address brings.
    pub(crate) fn new(values: &Params) -> Self {
        Self { values: values.clone(), ..Self::default() }
    }

    /// The form as it came back.
    pub(crate) fn refused(values: &Params, refusal: &Refusal) -> Self {
        Self {
            values: values.clone(),
            errors: refusal.errors.clone(),
            summary: Some(refusal.detail.clone()),
        }
    }

    /// One more fault, found by the page itself (a text that is no number, say).
    #[must_use]
    pub(crate) fn fault(
        mut self,
        field: &'static str,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let message = message.into();
        self.errors.push(FieldError { field: field.into(), code: code.into(), message });
        self
    }

    /// Whether anything is wrong.
    pub(crate) fn is_faulty(&self) -> bool {
        self.summary.is_some() || !self.errors.is_empty()
    }

    /// The headline of the error summary.
    pub(crate) fn summary(&self) -> &str {
        self.summary.as_deref().unwrap_or("Something needs your attention")
    }

    /// The faults, for the summary's links.
    pub(crate) fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// What stands in a field.
    pub(crate) fn value(&self, name: &str) -> &str {
        self.values.text(name)
    }

    /// What is wrong with a field.
    pub(crate) fn error(&self, name: &str) -> Option<&str> {
        let found = self.errors.iter().find(|error| error.field == name);
        found.map(|error| error.message.as_str())
    }
}
