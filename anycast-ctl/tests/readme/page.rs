//! The lines of the README that a reader types, and what they are told to expect.

use anyhow::{Context as _, Result, bail, ensure};

/// The chapter that is tried.
const CHAPTER: &str = "## On your own machines\n";

/// A block of lines to type.
#[derive(Debug)]
pub struct Block {
    /// The machines on which the lines are typed, by the words behind `sh` in the block's first line.
    pub machines: Vec<String>,
    /// The lines.
    pub script: String,
    /// The output in the next block, where that one shows output.
    pub shows: Option<String>,
}

/// The blocks of the chapter that name their machines, in order.
pub fn blocks(readme: &str) -> Result<Vec<Block>> {
    let (_, chapter) = readme.split_once(CHAPTER).context("the chapter is gone")?;
    let chapter = chapter.split("\n## ").next().unwrap_or(chapter);
    let mut blocks: Vec<Block> = Vec::new();
    let mut fences = chapter.split("```");
    // What stands before the first block.
    fences.next();
    while let Some(block) = fences.next() {
        ensure!(fences.next().is_some(), "a block has no end: {block}");
        let (info, text) = block.split_once('\n').context("a block without lines")?;
        let mut words = info.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("sh") => blocks.push(Block {
                machines: words.collect(),
                script: text.to_owned(),
                shows: None,
            }),
            Some("text") => {
                if let Some(last) = blocks.last_mut() {
                    last.shows = Some(text.to_owned());
                }
            }
            other => bail!("the test does not know blocks of {other:?}"),
        }
    }
    blocks.retain(|block| !block.machines.is_empty());
    Ok(blocks)
}

/// The first line of `shown` that is not in `output`, in this order. Other lines may stand between them. Words are
/// compared, and a number in a line of several words that is no address stands for any: times, ports and counts differ
/// from run to run. A number alone is what is to be seen, such as a status of HTTP.
pub fn missing<'a>(shown: &'a str, output: &[String]) -> Option<&'a str> {
    let mut lines = output.iter();
    shown
        .lines()
        .find(|shown| !lines.any(|line| is_same(shown, line)))
}

fn is_same(shown: &str, line: &str) -> bool {
    let words = |text: &str| -> Vec<String> { text.split_whitespace().map(generalized).collect() };
    if shown.split_whitespace().count() == 1 {
        return shown.trim() == line.trim();
    }
    words(shown) == words(line)
}

fn generalized(word: &str) -> String {
    let is_number = word.starts_with(|c: char| c.is_ascii_digit());
    // "[2001:db8:1::100]:59462"
    if let Some((address, _)) = word.rsplit_once("]:") {
        format!("{address}]:#")
    } else if is_number && !word.contains(':') {
        "#".to_owned()
    } else {
        word.to_owned()
    }
}
