//! One log line, its stamp, and its two spellings: a Logplex frame and what `heroku logs` prints.

/// A line before it is framed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Syslog PRI. Logplex varies it by sender, not by severity.
    pub(super) pri: u16,
    /// Stamp, microseconds since the Unix epoch.
    pub(super) at_us: i64,
    /// APP-NAME: `heroku` for the platform's own lines, `app` for everything else.
    pub(super) source: &'static str,
    /// PROCID: `router`, `web.1`, `api`, …
    pub(super) process: String,
    /// The message, without its final newline.
    pub(super) text: String,
}

impl Line {
    pub(super) fn router(at_us: i64, text: String) -> Self {
        Line { pri: 158, at_us, source: "heroku", process: "router".into(), text }
    }

    /// A line of the dyno manager or of `log-runtime-metrics`.
    pub(super) fn dyno(at_us: i64, dyno: &str, text: impl Into<String>) -> Self {
        Line { pri: 134, at_us, source: "heroku", process: dyno.into(), text: text.into() }
    }

    /// A line an app's own process has written.
    pub(super) fn app(at_us: i64, dyno: &str, text: impl Into<String>) -> Self {
        Line { pri: 190, at_us, source: "app", process: dyno.into(), text: text.into() }
    }

    /// A line about a deploy, a release, a build or a config change.
    pub(super) fn api(at_us: i64, text: String) -> Self {
        Line { pri: 133, at_us, source: "app", process: "api".into(), text }
    }

    /// A line of a data service (`heroku-postgres`, `heroku-redis`).
    pub(super) fn data(at_us: i64, process: &str, text: String) -> Self {
        Line { pri: 134, at_us, source: "app", process: process.into(), text }
    }

    /// Appends `COUNT SP <PRI>1 SP STAMP SP host SP APPNAME SP PROCID SP - SP TEXT LF`: COUNT is in octets and includes
    /// the newline, there is no STRUCTURED-DATA, and nothing stands between two frames.
    pub(super) fn frame_into(&self, body: &mut Vec<u8>) {
        let message = format!(
            "<{}>1 {} host {} {} - {}\n",
            self.pri,
            stamp_trimmed(self.at_us),
            self.source,
            self.process,
            self.text
        );
        body.extend_from_slice(format!("{} ", message.len()).as_bytes());
        body.extend_from_slice(message.as_bytes());
    }

    /// The line as `heroku logs` prints it, with its newline.
    pub(super) fn plain(&self) -> String {
        format!("{} {}[{}]: {}\n", stamp(self.at_us), self.source, self.process, self.text)
    }
}

/// RFC 3339 in UTC with six fractional digits and `+00:00`, as `heroku logs` prints it.
#[must_use]
pub fn stamp(at_us: i64) -> String {
    format!("{}.{:06}+00:00", seconds(at_us), at_us.rem_euclid(1_000_000))
}

/// Logplex trims zeros at the end of the fraction, and the dot with them.
fn stamp_trimmed(at_us: i64) -> String {
    let fraction = format!(".{:06}", at_us.rem_euclid(1_000_000));
    format!("{}{}+00:00", seconds(at_us), fraction.trim_end_matches('0').trim_end_matches('.'))
}

fn seconds(at_us: i64) -> String {
    let total = at_us.div_euclid(1_000_000);
    let (year, month, day) = civil(total.div_euclid(86_400));
    let second = total.rem_euclid(86_400);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

/// Year, month and day of a count of days since 1970-01-01, in the proleptic Gregorian calendar.
///
/// Counts from 1 March of year 0, so that the leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days since 1970-01-01; the inverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year.div_euclid(400) * 146_097 + day_of_era - 719_468
}

/// Reads `YYYY-MM-DDTHH:MM:SS`, taken as UTC, with or without a final `Z`: microseconds since the Unix epoch.
/// `None` for any other form and for a date or time that does not exist.
#[must_use]
pub fn parse_stamp(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z').unwrap_or(text).split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let day_number = days(year, month, day);
    let exists = civil(day_number) == (year, month, day) && hour < 24 && minute < 60 && second < 60;
    exists.then_some((day_number * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000_000)
}

/// Three decimal fields of exactly these widths.
fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut fields = text.split(separator);
    let mut out = [0; 3];
    for (slot, width) in out.iter_mut().zip(widths) {
        let field = fields.next()?;
        if field.len() != width || !field.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *slot = field.parse().ok()?;
    }
    fields.next().is_none().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_civil_time_and_trimmed_in_frames() {
        let check = |at_us: i64, full: &str, trimmed: &str| {
            assert_eq!(stamp(at_us), full);
            assert_eq!(stamp_trimmed(at_us), trimmed);
        };
        check(0, "1970-01-01T00:00:00.000000+00:00", "1970-01-01T00:00:00+00:00");
        check(951_782_400_200_000, "2000-02-29T00:00:00.200000+00:00", "2000-02-29T00:00:00.2+00:00");
        check(1_778_140_799_615_560, "2026-05-07T07:59:59.615560+00:00", "2026-05-07T07:59:59.61556+00:00");
        check(-1, "1969-12-31T23:59:59.999999+00:00", "1969-12-31T23:59:59.999999+00:00");
    }

    #[test]
    fn stamps_are_read_back_or_refused() {
        let check = |text: &str, want: Option<i64>| assert_eq!(parse_stamp(text), want, "{text}");
        check("1970-01-01T00:00:00", Some(0));
        check("2000-02-29T00:00:00Z", Some(951_782_400_000_000));
        check("2026-05-07T07:59:59", Some(1_778_140_799_000_000));
        for bad in ["2026-02-30T00:00:00", "2026-05-07 08:00:00", "2026-05-07T24:00:00", "2026-5-7T08:00:00"] {
            check(bad, None);
        }
        for bad in ["", "T", "2026-05-07T08:00", "2026-05-07T08:00:00.5", "+026-05-07T08:00:00"] {
            check(bad, None);
        }
    }

    #[test]
    fn every_day_of_400_years_goes_there_and_back() {
        for day in -719_468..=146_097 {
            let (year, month, date) = civil(day);
            assert_eq!(days(year, month, date), day);
        }
    }

    #[test]
    fn a_frame_counts_octets_and_its_newline() {
        let mut body = Vec::new();
        Line::app(200_000, "web.2", "café 12µs").frame_into(&mut body);
        Line::router(0, "at=info".into()).frame_into(&mut body);
        assert_eq!(
            String::from_utf8(body).unwrap(),
            "64 <190>1 1970-01-01T00:00:00.2+00:00 host app web.2 - café 12µs\n\
             62 <158>1 1970-01-01T00:00:00+00:00 host heroku router - at=info\n"
        );
    }
}
