//! `strongroom man`: a manual page for each command, out of the command line
//! itself, so that none is forgotten or stale.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::Man;

use super::Cli;
use super::output::Output;

/// Write the manual pages.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where to write one page for each command; without it the first page goes to standard output.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(super) fn run(options: &Options, output: Output) -> anyhow::Result<()> {
    let pages = pages()?;
    let Some(folder) = &options.folder else {
        return output.text(pages.first().map_or("", |(_, text)| text));
    };
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, text) in &pages {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    output.text(&format!(
        "{} pages in {folder}; read one with: man -l {folder}/strongroom-dev.1",
        pages.len(),
        folder = folder.display()
    ))
}

/// File names with their text, the first page first.
fn pages() -> anyhow::Result<Vec<(String, String)>> {
    let mut root = Cli::command();
    root.build();
    let mut pages = Vec::new();
    collect(&root, "strongroom", &mut pages)?;
    Ok(pages)
}

fn collect(
    command: &clap::Command,
    name: &str,
    pages: &mut Vec<(String, String)>,
) -> anyhow::Result<()> {
    let mut text = Vec::new();
    // Pages are found by their name; clap's own has spaces in it.
    let titled = command.clone().display_name(name.to_owned());
    Man::new(titled).title(name.to_uppercase()).render(&mut text)?;
    pages.push((format!("{name}.1"), String::from_utf8_lossy(&text).into_owned()));
    for child in command.get_subcommands() {
        if !child.is_hide_set() && child.get_name() != "help" {
            collect(child, &format!("{name}-{}", child.get_name()), pages)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::CommandFactory as _;

    use super::pages;
    use crate::cli::Cli;

    fn count(command: &clap::Command) -> usize {
        let children = command
            .get_subcommands()
            .filter(|child| !child.is_hide_set() && child.get_name() != "help");
        1 + children.map(count).sum::<usize>()
    }

    #[test]
    fn every_command_has_its_page() {
        let pages = pages().unwrap();
        assert_eq!(pages.len(), count(&Cli::command()));
        for (name, text) in &pages {
            assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{name}");
        }
        let page = |wanted: &str| {
            pages.iter().find(|(name, _)| name == wanted).map(|(_, text)| text.clone()).unwrap()
        };
        assert!(page("strongroom-migrate-down.1").contains("yes"));
        assert!(page("strongroom.1").contains("strongroom\\-doctor(1)"));
        assert!(!pages.iter().any(|(name, _)| name.contains("docs")), "hidden commands have none");
    }
}
