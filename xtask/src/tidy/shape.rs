//! Owns the rules of size and form: short files, short functions, modules that
//! open by saying what they own.

use super::Finding;
use super::source::SourceFile;

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    files.iter().filter(|file| file.is_rust()).flat_map(check_one).collect()
}

fn check_one(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        let message =
            format!("{lines} lines; split the file (the limit is {FILE_LINES_MAX}, the aim 400)");
        findings.push(Finding::new(&file.path, 0, message));
    }
    if !opens_with_its_purpose(&file.text) {
        let message = "a module opens with `//!` saying what it owns and what it refuses to know";
        findings.push(Finding::new(&file.path, 1, message));
    }
    for function in functions(&file.code) {
        if function.lines > FUNCTION_LINES_MAX && !is_excused(file, function.offset) {
            let message = format!(
                "function `{}` has {} lines; the limit is {FUNCTION_LINES_MAX}",
                function.name, function.lines
            );
            findings.push(Finding::new(&file.path, file.line_of(function.offset), message));
        }
    }
    findings
}

fn opens_with_its_purpose(text: &str) -> bool {
    let first =
        text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("#!["));
    first.is_none_or(|line| {
        line.strip_prefix("//!").is_some_and(|rest| rest.split_whitespace().count() >= 3)
    })
}

/// Whether the attributes above a function excuse its length, which they do with
/// a reason: a table of cases is one table.
fn is_excused(file: &SourceFile, offset: usize) -> bool {
    let line_start = file.text[..offset].rfind('\n').map_or(0, |end| end + 1);
    file.text[..line_start]
        .lines()
        .rev()
        .take_while(|line| line.trim_start().starts_with("#["))
        .any(|line| line.contains("expect(clippy::too_many_lines, reason = "))
}

struct Function<'a> {
    name: &'a str,
    offset: usize,
    lines: usize,
}

/// Every function with a body: the lines between its braces, blank lines and
/// comments not counted (as clippy counts).
fn functions(code: &str) -> Vec<Function<'_>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = code[from..].find("fn ").map(|at| at + from) {
        from = at + 3;
        let starts_word = at == 0 || !is_word(code.as_bytes()[at - 1]);
        let name_length = code[from..].bytes().take_while(|&byte| is_word(byte)).count();
        if !starts_word || name_length == 0 {
            continue;
        }
        if let Some((start, end)) = body(code, from + name_length) {
            let lines = code[start..end].lines().filter(|line| !line.trim().is_empty()).count();
            found.push(Function { name: &code[from..from + name_length], offset: at, lines });
        }
    }
    found
}

/// What lies between the braces; none for a declaration without a body.
fn body(code: &str, from: usize) -> Option<(usize, usize)> {
    let mut start = 0;
    let mut round = 0_i32;
    let mut curly = 0_i32;
    for (offset, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => round += 1,
            b')' | b']' => round -= 1,
            b'{' => {
                if curly == 0 && round == 0 {
                    start = offset + 1;
                }
                curly += 1;
            }
            b'}' => {
                curly -= 1;
                if curly == 0 && round == 0 {
                    return Some((start, offset));
                }
            }
            b';' if curly == 0 && round == 0 => return None,
            _ => {}
        }
    }
    None
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
