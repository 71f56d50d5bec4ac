//! Sizes as people write and read them: `128M` is 128 MiB.

const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];

/// Bytes of `512`, `128M`, `2G`, `2GiB` or `1TB`, in powers of 1024.
pub fn parse(text: &str) -> Result<i64, String> {
    let upper = text.trim().to_ascii_uppercase();
    let bare = upper.strip_suffix("IB").or_else(|| upper.strip_suffix('B')).unwrap_or(&upper);
    let unit = UNITS.iter().find(|(unit, _)| bare.ends_with(*unit));
    let (digits, shift) = unit.map_or((bare, 0), |(unit, shift)| (bare.trim_end_matches(*unit), *shift));
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let sound = plain && bare.len() - digits.len() <= 1 && !(upper.ends_with("IB") && shift == 0);
    if !sound {
        return Err("write a whole number of bytes, or with a unit such as 128M or 2G".into());
    }
    let number: Option<i64> = digits.parse().ok();
    number.and_then(|n| n.checked_mul(1 << shift)).ok_or_else(|| "is too large".into())
}

/// Such as `128 MiB`, `1.5 GiB`.
pub fn show(bytes: i64) -> String {
    let Some((unit, shift)) = UNITS.iter().rev().find(|(_, shift)| bytes >= 1 << shift) else {
        return format!("{bytes} B");
    };
    let whole = bytes as f64 / (1_i64 << shift) as f64;
    if bytes % (1 << shift) == 0 { format!("{whole:.0} {unit}iB") } else { format!("{whole:.1} {unit}iB") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_powers_of_1024() {
        let cases = [("0", 0), ("512", 512), ("128M", 128 << 20), ("2g", 2 << 30), ("2GiB", 2 << 30)];
        for (text, expected) in cases.into_iter().chain([("1TB", 1 << 40), ("7B", 7), ("3K", 3072)]) {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in
            ["", "G", "1.5G", "-1", "+1", "2GG", "2X", "1 G", "5iB", "99999999999999999999", "9999999999T"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_short() {
        for (bytes, expected) in [(0, "0 B"), (1023, "1023 B"), (128 << 20, "128 MiB"), (3 << 29, "1.5 GiB")]
        {
            assert_eq!(show(bytes), expected);
        }
    }
}
