//! Messages of a development installation: written into a folder, for whoever works there
//! to read. Never in production, where codes and links would lie on a disk.

use std::{os::unix::fs::OpenOptionsExt as _, path::PathBuf};

use super::{Delivery, Pending, Transport};
use crate::message::{Content, Message};

/// Writes each message into a file of its own.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Into that folder, which is made when it is first needed.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn write(&self, message: &Message) -> std::io::Result<PathBuf> {
        let (kind, text) = match &message.content {
            Content::Email { from_name, subject, text, html, .. } => {
                let head = format!("From: {from_name}\nTo: {}\nSubject: {subject}\n", message.to);
                let page = self.path.join(format!("{}.html", message.id));
                self.put(&page, html)?;
                ("email", format!("{head}\n{text}\n"))
            }
            Content::Sms { text } => ("sms", format!("To: {}\n\n{text}\n", message.to)),
        };
        let path = self.path.join(format!("{}.{kind}.txt", message.id));
        self.put(&path, &text)?;
        Ok(path)
    }

    /// Only for the eyes of whom the installation belongs to.
    fn put(&self, path: &std::path::Path, text: &str) -> std::io::Result<()> {
        use std::io::Write as _;
        std::fs::create_dir_all(&self.path)?;
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(path)?.write_all(text.as_bytes())
    }
}

impl Transport for Folder {
    fn send<'a>(&'a self, message: &'a Message) -> Pending<'a, Delivery> {
        Box::pin(async move {
            match self.write(message) {
                Ok(path) => {
                    tracing::info!(file = %path.display(), "a notice was written, not sent");
                    Delivery::Sent
                }
                Err(error) => {
                    tracing::warn!(%error, "a notice could not be written");
                    Delivery::outage("folder")
                }
            }
        })
    }

    fn rest(&self) -> Pending<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
