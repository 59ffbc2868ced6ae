//! Lengths of time as people write and read them.

/// What a unit is called, and its seconds; the first name of each is the one that is shown.
const UNITS: [(&[&str], i64); 4] = [
    (&["day", "days", "d"], 86_400),
    (&["h", "hour", "hours", "hr", "hrs"], 3_600),
    (&["min", "mins", "minute", "minutes", "m"], 60),
    (&["s", "sec", "secs", "second", "seconds"], 1),
];

/// `30 min`, `12 h`, `7 days`: the largest unit that is exact.
pub(crate) fn words(seconds: i64) -> String {
    match seconds {
        86_400 => "1 day".to_owned(),
        _ if seconds > 0 && seconds % 86_400 == 0 => format!("{} days", seconds / 86_400),
        _ if seconds > 0 && seconds % 3_600 == 0 => format!("{} h", seconds / 3_600),
        _ if seconds > 0 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

/// The seconds of `30 min`, `1 h 30 min`, `7 days`; none where a number has no unit, for it
/// could be of any.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut whole = 0_i64;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let count: i64 = rest[..end].parse().ok()?;
        rest = rest[end..].trim_start();
        let end = rest.find(|letter: char| !letter.is_alphabetic()).unwrap_or(rest.len());
        let name = rest[..end].to_lowercase();
        let unit = UNITS.iter().find(|(names, _)| names.contains(&name.as_str()));
        whole = count.checked_mul(unit?.1).and_then(|more| whole.checked_add(more))?;
        rest = rest[end..].trim_start();
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{seconds, words};

    #[test]
    fn durations_are_told_in_the_largest_exact_unit() {
        for (seconds, text) in [
            (30, "30 s"),
            (1_800, "30 min"),
            (43_200, "12 h"),
            (86_400, "1 day"),
            (604_800, "7 days"),
            (90, "90 s"),
            (0, "0 s"),
        ] {
            assert_eq!(words(seconds), text);
        }
    }

    #[test]
    fn what_people_write_is_read_and_nothing_is_guessed() {
        for (text, expected) in [
            ("30 min", Some(1_800)),
            ("30min", Some(1_800)),
            (" 1 h 30 Minutes ", Some(5_400)),
            ("1 day", Some(86_400)),
            ("2d", Some(172_800)),
            ("90 s", Some(90)),
            ("30", None),
            ("", None),
            ("min", None),
            ("half an hour", None),
            ("-5 min", None),
            ("1.5 h", None),
            ("5 parsecs", None),
            ("5 min 3", None),
            ("9223372036854775807 days", None),
            ("99999999999999999999 s", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_told_reads_back(told in 0_i64..100_000_000) {
            prop_assert_eq!(seconds(&words(told)), Some(told));
        }

        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,40}") {
            let _ = seconds(&text);
        }
    }
}
