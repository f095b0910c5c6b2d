//! Lengths of time as Go writes and reads them (`time.Duration`): `1h15m30.5s`, `300ms`.

/// The units, the longest first, with their nanoseconds.
const UNITS: &[(&str, i128)] = &[
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ns", 1),
];

/// The nanoseconds of a text; `None` for what is no length of time, or too long for one.
pub fn parse(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut nanos: i128 = 0;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        let (_, worth) = UNITS.iter().find(|(name, _)| *name == unit)?;
        nanos = nanos.checked_add(amount(number, *worth)?)?;
        rest = after;
        if rest.is_empty() {
            return i64::try_from(nanos * sign).ok();
        }
    }
}

/// So many times `worth`, with what is behind the point; smaller parts are cut off.
fn amount(number: &str, worth: i128) -> Option<i128> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let digits = |text: &str| match text {
        "" => Some(0),
        text => text.parse::<i128>().ok(),
    };
    // No unit is worth more digits than these.
    let part = &part[..part.len().min(15)];
    let scale = 10_i128.pow(u32::try_from(part.len()).ok()?);
    let part = digits(part)?.checked_mul(worth)? / scale;
    digits(whole)?.checked_mul(worth)?.checked_add(part)
}

/// Nanoseconds as a text.
pub fn print(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    match nanos {
        0 => "0s".to_string(),
        1..1_000 => format!("{sign}{nanos}ns"),
        1_000..1_000_000 => format!("{sign}{}\u{b5}s", point(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", point(nanos, 1_000_000)),
        _ => {
            let minutes = nanos / 60_000_000_000;
            let seconds = point(nanos % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// `amount / unit` with as many digits as it takes.
fn point(amount: u64, unit: u64) -> String {
    let (whole, rest) = (amount / unit, amount % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_in_go() {
        for (nanos, text) in [
            (0, "0s"),
            (999, "999ns"),
            (1_500, "1.5\u{b5}s"),
            (300_000_000, "300ms"),
            (10_000_000_000, "10s"),
            (-90_500_000_000, "-1m30.5s"),
            (3_600_000_000_000, "1h0m0s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(print(nanos), text);
            assert_eq!(parse(text), Some(nanos), "{text}");
        }
    }

    #[test]
    fn lengths_are_read_as_in_go() {
        for (text, nanos) in [
            ("0", 0),
            ("+1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1us2\u{3bc}s", 3_000),
            ("0s1s", 1_000_000_000),
        ] {
            assert_eq!(parse(text), Some(nanos), "{text}");
        }
        for wrong in [
            "", "s", "1", ".s", "1.2.3s", "1d", "-", "9999999h", "1s ", "s1",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
