//! Tables of cases as text, for tests of both kinds: a line a case, its columns two blanks or more apart.

/// The rows of a table of `N` columns; `-` is an empty one, and `=>` begins a column in a line of its own.
pub fn rows<const N: usize>(text: &str) -> impl Iterator<Item = [&str; N]> {
    let mut rows: Vec<Vec<&str>> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let (Some(column), Some(row)) = (line.strip_prefix("=> "), rows.last_mut()) {
            row.push(if column == "-" { "" } else { column });
            continue;
        }
        let columns = line.split("  ").map(str::trim);
        let columns = columns.filter(|column| !column.is_empty());
        let columns = columns.map(|column| if column == "-" { "" } else { column });
        rows.push(columns.collect());
    }
    let rows = rows.into_iter().filter(|row| !row.is_empty());
    rows.map(|row| {
        row.try_into()
            .unwrap_or_else(|row| panic!("not {N} columns: {row:?}"))
    })
}

/// The words of a line: between blanks, or whole in `'…'` or `"…"`, where nothing is special.
#[track_caller]
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None, None);
    for c in line.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_with(String::new);
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_with(String::new).push(c),
        }
    }
    assert!(quote.is_none(), "a quote is open: {line}");
    words.extend(word);
    words
}

/// `NAME=VALUE` of each word.
pub fn pairs(line: &str) -> Vec<(String, String)> {
    let pair = |word: String| {
        let pair = word
            .split_once('=')
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        pair.unwrap_or_else(|| panic!("no NAME=VALUE: {word}"))
    };
    words(line).into_iter().map(pair).collect()
}
