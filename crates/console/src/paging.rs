//! Owns the console's cursors: a list's position under a MAC, bound to tenant, person,
//! list and filters, as the API's are; neither opens the other's.
//!
//! Refuses to know what a position means.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use operation::PageRequest;
use tenancy::OpContext;
use vault::MacKey;

use crate::{fault::Fault, params::Params};

const DOMAIN: &str = "console-cursor";
const MAC_BYTES: usize = 32;
const CURSOR_LETTERS_MAX: usize = 1_024;

/// Rows of a page.
pub(crate) const ROWS: u32 = 25;

/// One list as one person filters it.
pub(crate) struct Binding<'a> {
    pub(crate) context: &'a OpContext,
    pub(crate) key: &'a MacKey,
    pub(crate) path: &'a str,
    pub(crate) params: &'a Params,
}

impl Binding<'_> {
    /// The page that `?cursor=` asks for; 400 for a cursor of another list.
    pub(crate) fn request(&self) -> Result<PageRequest, Fault> {
        let after = self.params.get("cursor").map(|cursor| self.open(cursor)).transpose()?;
        Ok(PageRequest { limit: ROWS, after, ..PageRequest::default() })
    }

    /// Where the next page is.
    pub(crate) fn next(&self, position: Option<&str>) -> Option<String> {
        position.map(|position| {
            let tag = self.key.sign(DOMAIN, &self.message(position.as_bytes()));
            let cursor = URL_SAFE_NO_PAD.encode([tag.as_slice(), position.as_bytes()].concat());
            self.params.link(self.path, "cursor", &cursor)
        })
    }

    fn open(&self, cursor: &str) -> Result<String, Fault> {
        let wrong = || Fault::malformed("cursor");
        if cursor.len() > CURSOR_LETTERS_MAX {
            return Err(wrong());
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
        let (tag, position) = bytes.split_at_checked(MAC_BYTES).ok_or_else(wrong)?;
        if !self.key.verify(DOMAIN, &self.message(position), tag) {
            return Err(wrong());
        }
        String::from_utf8(position.to_vec()).map_err(|_| wrong())
    }

    fn message(&self, position: &[u8]) -> Vec<u8> {
        let filters = self.params.link(self.path, "cursor", "");
        let mut message = Vec::with_capacity(64 + filters.len() + position.len());
        message.extend_from_slice(self.context.tenant_id().as_bytes());
        message.extend_from_slice(self.context.actor.id.as_bytes());
        // The length in front, so that no two bindings are written alike.
        message.extend_from_slice(&u64::try_from(filters.len()).unwrap_or(u64::MAX).to_be_bytes());
        message.extend_from_slice(filters.as_bytes());
        message.extend_from_slice(position);
        message
    }
}
