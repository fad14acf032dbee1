//! What fuzzing started from and what it found, kept in `fuzz/seeds/text`: rules come back from
//! their own text.

use flowspec::Rule;
use std::path::Path;

#[test]
fn rules_of_the_corpus_come_back_from_their_text() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/text");
    let mut rules = 0;
    for file in std::fs::read_dir(seeds).unwrap() {
        let path = file.unwrap().path();
        let octets = std::fs::read(&path).unwrap();
        // An even first octet: the rest is text.
        let Some((head, text)) = octets.split_first() else { continue };
        let Ok(text) = std::str::from_utf8(text) else { continue };
        if head & 1 == 1 {
            continue;
        }
        if let Ok(rule) = text.parse::<Rule>() {
            rules += 1;
            let shown = rule.to_string();
            assert_eq!(shown.parse::<Rule>().as_ref(), Ok(&rule), "{}: `{shown}`", path.display());
        }
    }
    assert!(rules > 10, "only {rules} of the seeds are rules");
}
