//! Writes the list of embedded migrations: a list kept by hand would one day
//! miss a file.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "how cargo and a build script talk"
)]

use std::fmt::Write;
use std::path::Path;
use std::{env, error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let folder =
        Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../migrations").canonicalize()?;
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut names = fs::read_dir(&folder)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>, _>>()?;
    names.sort();
    let mut list = String::from("&[\n");
    for stem in names.iter().filter_map(|name| name.strip_suffix(".up.sql")) {
        let (version, name) = stem.split_once('_').ok_or("a migration is named NNNN_name")?;
        let version: u32 = version.parse()?;
        let up = folder.join(format!("{stem}.up.sql"));
        let down = folder.join(format!("{stem}.down.sql"));
        if !down.is_file() {
            return Err(format!("migration {stem} has no .down.sql").into());
        }
        let (up, down) = (quoted(&up)?, quoted(&down)?);
        writeln!(
            list,
            "Embedded {{ version: {version}, name: {name:?}, up: include_str!({up}), down: include_str!({down}) }},"
        )?;
    }
    list.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("migrations.rs"), list)?;
    Ok(())
}

/// As a Rust string literal.
fn quoted(path: &Path) -> Result<String, &'static str> {
    path.to_str().map(|path| format!("{path:?}")).ok_or("the checkout's path is not UTF-8")
}
