//! Sizes, counts and durations for people.

use std::time::Duration;

/// A size in bytes, in binary units: `512 B`, `48.2 MiB`.
pub fn bytes(size: u64) -> String {
    if size < 1024 {
        return format!("{size} B");
    }
    // In tenths of the unit, so that 1,048,575 bytes are `1.0 MiB` and not `1024.0 KiB`.
    let mut tenths = rounded(u128::from(size) * 10, 1024);
    let mut divisor = 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        divisor *= 1024;
        unit += 1;
        tenths = rounded(u128::from(size) * 10, divisor);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS.get(unit).unwrap_or(&"B"))
}

/// A number with its thousands separated: `31,204`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration: `0.9s`, `37s`, `2m 05s`, `1h 02m`.
pub fn elapsed(duration: Duration) -> String {
    let tenths = rounded(duration.as_millis(), 100);
    if tenths < 100 {
        return format!("{}.{}s", tenths / 10, tenths % 10);
    }
    let seconds = rounded(duration.as_millis(), 1000);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    }
}

fn rounded(dividend: u128, divisor: u128) -> u128 {
    (dividend + divisor / 2) / divisor
}

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_binary_units_and_round_into_the_next_one() {
        let sizes = [0, 1023, 1024, 50_541_363, 1_048_575, u64::MAX];
        let shown = ["0 B", "1023 B", "1.0 KiB", "48.2 MiB", "1.0 MiB", "16.0 EiB"];
        assert_eq!(sizes.map(bytes), shown);
    }

    #[test]
    fn counts_are_separated_by_thousands() {
        let numbers = [0, 999, 1000, 31_204, 1_234_567];
        assert_eq!(numbers.map(count), ["0", "999", "1,000", "31,204", "1,234,567"]);
    }

    #[test]
    fn durations_get_coarser_as_they_grow() {
        let milliseconds = [0, 940, 9_949, 9_950, 37_000, 59_600, 125_000, 3_725_000];
        let shown = ["0.0s", "0.9s", "9.9s", "10s", "37s", "1m 00s", "2m 05s", "1h 02m"];
        assert_eq!(milliseconds.map(|ms| elapsed(Duration::from_millis(ms))), shown);
    }
}
