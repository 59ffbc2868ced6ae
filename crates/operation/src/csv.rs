//! Owns how a file for spreadsheets is written: RFC 4180, and nothing in it is run.
//!
//! A spreadsheet takes a cell for a formula where its first letter is a sign like `=`,
//! also behind white space and marks that nobody sees, and some take the full-width
//! signs for the plain ones. Which letter separates cells is the reader's setting: where
//! it is `;`, our quotes stand in the middle of a cell and keep nothing together, so a
//! sign behind a separator inside of a cell is guarded as well. The guard is an
//! apostrophe: it shows the rest as text. Plain negative numbers stay numbers.

/// What a formula begins with, in every width.
const SIGNS: [char; 12] = ['=', '+', '-', '@', '＝', '＋', '－', '＠', '﹦', '﹢', '﹣', '﹫'];
/// What may begin a new cell for a reader who separates by something else than we do.
const SEPARATORS: [char; 4] = [';', '\t', '\r', '\n'];

/// Appends one line.
pub fn line<'a>(text: &mut String, cells: impl IntoIterator<Item = &'a str>) {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        let shown = guarded(cell);
        if shown.len() > cell.len() || cell.contains([',', '"']) || cell.contains(SEPARATORS) {
            text.push('"');
            text.push_str(&shown.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(cell);
        }
    }
    text.push_str("\r\n");
}

/// The cell, with an apostrophe wherever a formula could begin.
fn guarded(cell: &str) -> String {
    let mut shown = String::with_capacity(cell.len());
    if is_negative_number(cell) {
        shown.push_str(cell);
        return shown;
    }
    if begins_formula(cell) || cell.starts_with(['\t', '\r', '\n']) {
        shown.push('\'');
    }
    for (index, part) in cell.split_inclusive(SEPARATORS).enumerate() {
        if index > 0 && begins_formula(part) {
            shown.push('\'');
        }
        shown.push_str(part);
    }
    shown
}

fn is_negative_number(cell: &str) -> bool {
    let is_digit_or_point = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    cell.strip_prefix('-').is_some_and(|rest| rest.bytes().all(is_digit_or_point))
}

fn begins_formula(text: &str) -> bool {
    text.chars().find(|letter| !is_unseen(*letter)).is_some_and(|first| SIGNS.contains(&first))
}

/// White space, controls, and what Unicode says to draw nothing for (format characters,
/// fillers, variation selectors).
fn is_unseen(letter: char) -> bool {
    letter.is_whitespace()
        || letter.is_control()
        || matches!(
            letter,
            '\u{ad}'
                | '\u{34f}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn spreadsheets_run_nothing() {
        // A cell, and how it is written.
        let table = [
            ("a", "a"),
            ("b,c", "\"b,c\""),
            ("d\"e", "\"d\"\"e\""),
            ("a b = c", "a b = c"),
            ("2026-01-01", "2026-01-01"),
            ("-12.50", "-12.50"),
            ("=1+1", "\"'=1+1\""),
            ("+420 777", "\"'+420 777\""),
            ("-cmd", "\"'-cmd\""),
            ("@x", "\"'@x\""),
            ("=\"a\"", "\"'=\"\"a\"\"\""),
            // Full-width and small signs.
            ("\u{ff1d}1+1", "\"'\u{ff1d}1+1\""),
            ("\u{ff0b}1", "\"'\u{ff0b}1\""),
            ("\u{ff0d}1", "\"'\u{ff0d}1\""),
            ("\u{ff20}x", "\"'\u{ff20}x\""),
            ("\u{fe66}1", "\"'\u{fe66}1\""),
            // Behind what nobody sees.
            (" =1+1", "\"' =1+1\""),
            ("\u{a0}\u{3000}=1", "\"'\u{a0}\u{3000}=1\""),
            ("\u{202e}=1", "\"'\u{202e}=1\""),
            ("\u{feff}=2", "\"'\u{feff}=2\""),
            ("\u{200b}\u{ad}\u{2066}\u{e0001}@x", "\"'\u{200b}\u{ad}\u{2066}\u{e0001}@x\""),
            ("\u{1}=1", "\"'\u{1}=1\""),
            (" -12.50", "\"' -12.50\""),
            ("\ta", "\"'\ta\""),
            ("\ra", "\"'\ra\""),
            ("\t=1", "\"'\t'=1\""),
            // Where the reader separates by something else.
            (";=1", "\";'=1\""),
            ("a;=1", "\"a;'=1\""),
            ("a; \u{feff}=1;b;@c", "\"a;' \u{feff}=1;b;'@c\""),
            ("a\t+1", "\"a\t'+1\""),
            ("a\r\n=1", "\"a\r\n'=1\""),
            ("a;b", "\"a;b\""),
            ("a\tb", "\"a\tb\""),
            ("-1;-2", "\"'-1;'-2\""),
        ];
        for (cell, written) in table {
            let mut text = String::new();
            line(&mut text, [cell, "z"]);
            assert_eq!(text, format!("{written},z\r\n"), "{cell:?}");
        }
    }
}
