//! Fenced blocks of a Markdown page.

/// A fenced block; `open` and `close` are the lines of its fences.
pub struct Block {
    pub words: Vec<String>,
    pub open: usize,
    pub close: usize,
    pub body: Vec<String>,
}

impl Block {
    pub fn kind(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    pub fn has(&self, word: &str) -> bool {
        self.words.iter().skip(1).any(|w| w == word)
    }

    /// The value of `key=value`.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.words.iter().find_map(|w| w.strip_prefix(key)?.strip_prefix('='))
    }
}

pub fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let mut out = Vec::new();
    let mut open: Option<Block> = None;
    for (i, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(info), None) => {
                let words = info.split_whitespace().map(str::to_owned).collect();
                open = Some(Block { words, open: i, close: i, body: Vec::new() });
            }
            (Some(_), Some(block)) => {
                block.close = i;
                out.extend(open.take());
            }
            (None, Some(block)) => block.body.push(line.to_owned()),
            (None, None) => {}
        }
    }
    match open {
        Some(block) => Err(format!("the fence of line {} is not closed", block.open + 1)),
        None => Ok(out),
    }
}

/// The program of a block, and whether it has a `main`: statements at the top become its body.
pub fn program(body: &[String]) -> (String, bool) {
    const ITEMS: &[&str] = &[
        "import ",
        "fn ",
        "io ",
        "struct ",
        "impl ",
        "const ",
        "type ",
        "interface ",
        "test ",
        "prop ",
        "bench ",
        "@",
        "##",
    ];
    let text = body.join("\n") + "\n";
    if body.iter().any(|l| l.starts_with("fn main(")) {
        return (text, true);
    }
    let (mut items, mut statements, mut in_item) = (Vec::new(), Vec::new(), false);
    for line in body {
        let goes_on = line.starts_with([' ', ')', ']', '}', '|']) || line.is_empty();
        if !goes_on {
            in_item = ITEMS.iter().any(|item| line.starts_with(item));
        }
        if in_item { items.push(line.clone()) } else { statements.push(format!("  {line}").trim_end().to_owned()) }
    }
    if statements.iter().all(|l| l.is_empty() || l.trim_start().starts_with('#')) {
        return (text, false);
    }
    (format!("{}\nfn main() {{\n{}\n}}\n", items.join("\n"), statements.join("\n")), true)
}
