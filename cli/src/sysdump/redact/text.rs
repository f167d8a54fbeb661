//! Where in a text the values are that stand behind the names of secrets: logs, YAML and JSON, also with escapes.
//!
//! What cannot be told for sure goes: a word too many is better than a secret.

use std::ops::Range;

use super::{MARK, is_secret};

/// Blanks, dashes and what a key has before its name; a line is looked back so far.
const HEAD: usize = 200;
/// The longest list of secrets.
const LIST: usize = 64 << 10;

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

/// Without the values of `name=value`, `name: value`, `"name":"value"`, `--name value`, `"--name", "value"` and
/// `name: NAME` with `value: VALUE` whose name is that of a secret, and without JSON web tokens.
pub(super) fn without_values(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(begin) = text[at..].find(is_name).map(|begin| at + begin) {
        // The `n` of a `\n` is no part of a name.
        if text[at..begin].ends_with('\\') && text[begin..].starts_with('n') {
            clean += &text[at..=begin];
            at = begin + 1;
            continue;
        }
        let end = text[begin..].find(|c| !is_name(c)).map_or(text.len(), |end| begin + end);
        let name = &text[begin..end];
        if name.starts_with("eyJ") && name.len() > 40 && name.matches('.').count() >= 2 {
            clean += &text[at..begin];
            clean += MARK;
            at = end;
            continue;
        }
        clean += &text[at..end];
        at = end;
        if !is_secret(name) {
            continue;
        }
        if let Some(value) = value(text, begin, end) {
            clean += &text[at..value.start];
            if !value.is_empty() {
                clean += MARK;
            }
            at = value.end;
        }
    }
    clean + &text[at..]
}

/// Where the value is of the name at `begin..end`.
fn value(text: &str, begin: usize, end: usize) -> Option<Range<usize>> {
    let gap = gap(&text[end..], text[begin..].starts_with('-'))?;
    let start = end + gap.length;
    let value = &text[start..];
    // Of an environment variable it is `value` that it stands behind.
    let (begin, end) = gap.below.map_or((begin, end), |(from, to)| (end + from, end + to));
    let line = Line::of(text, begin, end);
    if let Some(quote) = Quote::opening(value) {
        let inside = &value[quote.length()..];
        let length = quote.end(inside, true).unwrap_or_else(|| match &line {
            Some(line) if line.ending == "\n" => {
                let scope = line.deeper(inside);
                quote.end(&inside[..scope], false).unwrap_or(scope)
            }
            _ => inside.find('\n').unwrap_or(inside.len()),
        });
        let start = start + quote.length();
        return Some(start..start + length);
    }
    if value.starts_with('{') {
        return None;
    }
    if value.starts_with('[')
        && let Some(length) = value[..value.floor_char_boundary(LIST)].find(']')
    {
        let inside = &value[1..length];
        // Objects are walked through by themselves.
        let is_plain = !inside.contains('{') && !inside.trim().is_empty();
        return is_plain.then(|| start..start + length + 1);
    }
    if gap.is_field
        && let Some(line) = line
    {
        let value = line.within(value);
        let first = &value[..value.find(line.ending).unwrap_or(value.len())];
        let length =
            if first.trim().is_empty() { line.plain_below(value) } else { line.deeper(value) };
        return (length > 0).then(|| start..start + length);
    }
    let before = text[..begin].trim_end_matches(is_blank).chars().next_back();
    let is_flow = gap.is_field && matches!(before, Some('{' | ','));
    Some(start..start + if is_flow { until(value, ",}\n\"\\") } else { word(value) })
}

fn until(text: &str, ends: &str) -> usize {
    text.find(|c| ends.contains(c)).unwrap_or(text.len())
}

/// How long a value is that ends where a word ends; in `Bearer TOKEN` the first word is the scheme.
fn word(text: &str) -> usize {
    let end = |text: &str| {
        text.find(|c: char| c.is_whitespace() || ",;&\"'\\)}]".contains(c)).unwrap_or(text.len())
    };
    let first = end(text);
    if !["bearer", "basic"].contains(&text[..first].to_ascii_lowercase().as_str()) {
        return first;
    }
    let second = text[first..].trim_start_matches(' ');
    text.len() - second.len() + end(second)
}

/// What stands between a name and its value.
struct Gap {
    length: usize,
    /// As in `name: value` and `name = value`, where the value goes on to the end of the line.
    is_field: bool,
    /// Where the field, or the item of a list, is that has the value, if not behind the name.
    below: Option<(usize, usize)>,
}

/// `None` where no value follows.
fn gap(text: &str, is_option: bool) -> Option<Gap> {
    let found = |value: &str, is_field| {
        let value = value.trim_start_matches(is_blank);
        // What `Debug` makes of an `Option`.
        let value = value.strip_prefix("Some(").unwrap_or(value);
        Some(Gap { length: text.len() - value.len(), is_field, below: None })
    };
    let after_name = without_quote(text);
    let after_blanks = after_name.trim_start_matches(is_blank);
    if let Some(value) = after_blanks.strip_prefix(':') {
        return found(value, true);
    }
    if let Some(value) = after_blanks.strip_prefix('=') {
        return found(value, after_blanks.len() < after_name.len());
    }
    let place = |rest: &str| text.len() - rest.len();
    if is_option {
        // A word further, the next of a list in brackets, or the next line of a list.
        let item = next_line(after_blanks).and_then(|line| {
            let item = line.trim_start_matches(is_blank).strip_prefix("- ")?;
            Some(item.trim_start_matches(is_blank))
        });
        let next = after_blanks.strip_prefix(',').map(str::trim_start);
        let is_more = after_blanks.len() < text.len();
        let same =
            (is_more && !after_blanks.starts_with(['\n', '\r', '\\'])).then_some(after_blanks);
        let value = item.or(next).or(same)?;
        if without_quote(value).starts_with("--") {
            return None;
        }
        let below = item.map(|item| (place(item), place(item)));
        return found(value, item.is_some()).map(|gap| Gap { below, ..gap });
    }
    // An environment variable: `name: NAME`, and then its `value:`.
    let after = after_blanks.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
    let after = after.strip_prefix("\\n").unwrap_or(after).trim_start();
    let field = without_quote(after);
    let after_field = field.strip_prefix("value")?;
    let value = without_quote(after_field).trim_start_matches(is_blank).strip_prefix(':')?;
    let below = Some((place(field), place(after_field)));
    found(value, true).map(|gap| Gap { below, ..gap })
}

fn next_line(text: &str) -> Option<&str> {
    let text = text.strip_prefix('\r').unwrap_or(text);
    text.strip_prefix('\n').or_else(|| text.strip_prefix("\\n"))
}

fn without_quote(text: &str) -> &str {
    Quote::opening(text).map_or(text, |quote| &text[quote.length()..])
}

/// A quotation mark, and how many backslashes are before it: 0, or 1 in a text that is quoted itself, or 3…
struct Quote {
    mark: char,
    slashes: usize,
}

impl Quote {
    fn opening(text: &str) -> Option<Self> {
        let after = text.trim_start_matches('\\');
        let mark = after.chars().next().filter(|c| *c == '"' || *c == '\'')?;
        Some(Self { mark, slashes: text.len() - after.len() })
    }

    fn length(&self) -> usize {
        self.slashes + 1
    }

    /// How long what it quotes is; `None` where it is not closed, or not in the same line.
    fn end(&self, text: &str, is_one_line: bool) -> Option<usize> {
        let mut slashes = 0_usize;
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if c == '\n' && is_one_line {
                return None;
            }
            if c == '\\' {
                slashes += 1;
                continue;
            }
            if c == self.mark {
                // YAML doubles it where it is meant.
                let is_doubled =
                    c == '\'' && slashes == 0 && chars.next_if(|(_, next)| *next == '\'').is_some();
                let escapes = slashes.checked_sub(self.slashes).map_or(0, |n| n / self.length());
                if !is_doubled && escapes.is_multiple_of(2) {
                    return Some(at - slashes.min(self.slashes));
                }
            }
            slashes = 0;
        }
        None
    }
}

/// The line of a text that a name is the first of.
struct Line {
    /// The column of the name.
    column: usize,
    /// How lines end here: as they do, or by `\n` in a text that is quoted.
    ending: &'static str,
    /// What such a text ends with.
    quote: Quote,
}

impl Line {
    /// `None` where something stands before the name.
    fn of(text: &str, begin: usize, end: usize) -> Option<Self> {
        let from = text.floor_char_boundary(begin.saturating_sub(HEAD));
        let head = &text[from..begin];
        // A text that begins with the name, or a name that is quoted by itself.
        let quoted = head.trim_end_matches(['"', '\'']);
        let mark = head[quoted.len()..].chars().next_back();
        if let Some(mark) = mark.filter(|_| Quote::opening(&text[end..]).is_none()) {
            let slashes = quoted.len() - quoted.trim_end_matches('\\').len();
            return Some(Self { column: 0, ending: "\\n", quote: Quote { mark, slashes } });
        }
        let (mut ending, mut head) = match head.rfind('\n') {
            Some(end) => ("\n", &head[end + 1..]),
            None if from == 0 => ("\n", head),
            None => ("\\n", head),
        };
        let is_whole = from == 0 || ending == "\n";
        if let Some(end) = head.rfind("\\n") {
            (ending, head) = ("\\n", &head[end + 2..]);
        } else if !is_whole {
            return None;
        }
        // `example.com/token` is a name as well.
        let head = head.trim_end_matches(|c| is_name(c) || c == '/');
        let bare = head.trim_end_matches(['"', '\'']);
        let is_first = bare.chars().all(|c| is_blank(c) || c == '-' || c == '#');
        let quote = Quote { mark: '"', slashes: 0 };
        is_first.then_some(Self { column: bare.len(), ending, quote })
    }

    /// In a text that is quoted all ends with the quotation.
    fn within<'a>(&self, value: &'a str) -> &'a str {
        if self.ending == "\n" {
            return value;
        }
        let end = self.quote.end(value, true).or_else(|| value.find('\n'));
        &value[..end.unwrap_or(value.len())]
    }

    /// How long the rest of the line is, with the lines below that are indented more.
    fn deeper(&self, value: &str) -> usize {
        self.below(value, |line, indent| line.trim().is_empty() || indent > self.column)
    }

    /// How long what is below a name without a value is, where it is words or a list of them, and no fields.
    fn plain_below(&self, value: &str) -> usize {
        let length = self.below(value, |line, indent| {
            let line = line.trim();
            let is_item = line.starts_with("- ") && indent >= self.column;
            let is_field =
                line.ends_with(':') || line.contains(": ") || line.starts_with(['{', '[']);
            (indent > self.column || is_item) && !line.is_empty() && !is_field
        });
        let first = value.find(self.ending).unwrap_or(value.len());
        if length > first { length } else { 0 }
    }

    fn below(&self, value: &str, goes_on: impl Fn(&str, usize) -> bool) -> usize {
        let mut lines = value.split(self.ending);
        let mut length = lines.next().map_or(0, str::len);
        let mut blank = 0;
        for line in lines {
            let indent = line.len() - line.trim_start_matches(is_blank).len();
            if !goes_on(line, indent) {
                break;
            }
            blank += self.ending.len() + line.len();
            // Empty lines belong to it only where more follows.
            if !line.trim().is_empty() {
                length += std::mem::take(&mut blank);
            }
        }
        length
    }
}
