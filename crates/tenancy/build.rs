//! Writes the lists of embedded migrations and of files with statements: a list kept by hand
//! would one day miss a file.
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
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("migrations.rs"), list)?;
    fs::write(Path::new(&out).join("queries.rs"), queries()?)?;
    Ok(())
}

/// Each file of `queries/` with its place there, without its ending.
fn queries() -> Result<String, Box<dyn Error>> {
    let folder =
        Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../queries").canonicalize()?;
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    for area in fs::read_dir(&folder)? {
        for file in fs::read_dir(area?.path())? {
            files.push(file?.path());
        }
    }
    files.sort();
    let mut list = String::from("&[\n");
    for file in files {
        let place = file.strip_prefix(&folder)?.with_extension("");
        writeln!(list, "({}, include_str!({})),", quoted(&place)?, quoted(&file)?)?;
    }
    list.push(']');
    Ok(list)
}

/// As a Rust string literal.
fn quoted(path: &Path) -> Result<String, &'static str> {
    path.to_str().map(|path| format!("{path:?}")).ok_or("the checkout's path is not UTF-8")
}
