//! Characters that nobody sees, that move a cursor or that turn the direction of a text.

/// Whether a character is one of control, a byte order mark, or of the formats by which a text could show another order
/// or another end than it has (Unicode, categories Cc, Cf, Zl and Zp, less the marks of single scripts).
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0001}'..='\u{e007f}')
}

/// `text` with a space for each of them: a server could have put them there to forge lines or to steer a terminal.
pub fn printable(text: &str) -> String {
    let seen = |c| if is_unseen(c) { ' ' } else { c };
    text.chars().map(seen).collect()
}

/// `text` with each of them by its number.
pub fn escaped(text: &str) -> String {
    let escape = |c: char| {
        let hidden = is_unseen(c);
        let escaped = hidden.then(|| c.escape_debug());
        escaped.into_iter().flatten().chain((!hidden).then_some(c))
    };
    text.chars().flat_map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_unseen_gets_through() {
        assert_eq!(printable("a\r\nunhealthy: \x1b[31m"), "a  unhealthy:  [31m");
        for c in "\u{7f}\u{85}\u{200e}\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}\u{e0041}".chars() {
            assert_eq!(printable(&format!("a{c}b")), "a b", "{c:?}");
            assert_eq!(
                escaped(&format!("a{c}b")),
                format!("a{}b", c.escape_debug())
            );
        }
        let seen = "Grüße, 世界\u{a0}\"'\\ e\u{301}";
        assert_eq!((printable(seen), escaped(seen)), (seen.into(), seen.into()));
    }
}
