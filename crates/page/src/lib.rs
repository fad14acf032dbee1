//! The page that the daemon serves at `/`: its files, compiled into the program.
//!
//! `assets/` has them as a browser reads them: HTML, CSS and ES modules, nothing generated and
//! nothing of others. The page asks the daemon's API and nobody else.

#![forbid(unsafe_code)]

/// A file of the page.
#[derive(Debug)]
pub struct Asset {
    /// The path at which it is served.
    pub path: &'static str,
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its `ETag`, weak, since it is the same with and without compression (RFC 9110 §8.8.1).
    pub etag: &'static str,
    /// Its contents.
    pub octets: &'static [u8],
    /// The same in the format of gzip.
    pub gzip: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The `Content-Security-Policy` of the page: scripts, styles and images come from the daemon alone
/// and never from text; requests go to the daemon alone; no other site shows the page in a frame.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// The file that is served at this path. Nothing is read from a disk.
#[must_use]
pub fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

/// All files.
#[must_use]
pub const fn assets() -> &'static [Asset] {
    ASSETS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a browser takes before it shows the rules.
    const FIRST_VIEW: usize = 200_000;

    #[test]
    fn the_first_view_is_small() {
        let octets: usize = assets().iter().map(|asset| asset.gzip.len()).sum();
        assert!(octets <= FIRST_VIEW, "{octets} octets");
    }

    #[test]
    fn files_are_found_by_their_whole_path_and_no_other() {
        let index = find("/").expect("index.html");
        assert_eq!(index.content_type, "text/html; charset=utf-8");
        assert!(find("/page/app.js").is_some());
        for path in ["", "//", "/index.html", "/page/", "/page/../Cargo.toml", "/page/views/../app.js", "/page/APP.JS"]
        {
            assert!(find(path).is_none(), "{path}");
        }
    }

    /// The policy refuses what is written into the HTML; here that is known before a browser is
    /// asked.
    #[test]
    fn the_html_has_neither_scripts_nor_styles_nor_other_sites() {
        let html = std::str::from_utf8(find("/").expect("index.html").octets).expect("UTF-8");
        for word in ["style=", "<style", "onclick", "onload", "javascript:", "http://", "https://", "<script>"] {
            assert!(!html.contains(word), "{word}");
        }
    }

    /// What peers send is shown as text. These are the ways in which it could become markup or a
    /// script.
    #[test]
    fn no_script_makes_markup_or_code_from_text() {
        let words = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "DOMParser",
            "createContextualFragment",
            "setHTML",
            "srcdoc",
            "eval(",
            "new Function",
            "setAttribute('style",
            "setAttribute('on",
            "http://www.w3.org/1999/xhtml",
        ];
        for asset in assets().iter().filter(|asset| asset.path.ends_with(".js")) {
            let text = std::str::from_utf8(asset.octets).expect("UTF-8");
            for word in words {
                assert!(!text.contains(word), "{}: {word}", asset.path);
            }
        }
    }

    /// A browser asks for all modules at once, not for each when it has read the one before.
    #[test]
    fn the_html_names_all_modules() {
        let html = std::str::from_utf8(find("/").expect("index.html").octets).expect("UTF-8");
        for asset in assets().iter().filter(|asset| asset.path.ends_with(".js")) {
            assert!(html.contains(&format!("\"{}\"", asset.path)), "{}", asset.path);
        }
    }

    /// Each module that another imports is there: a missing one shows an empty page.
    #[test]
    fn every_import_is_served() {
        let mut imports = 0;
        for asset in assets().iter().filter(|asset| asset.path.ends_with(".js")) {
            let text = std::str::from_utf8(asset.octets).expect("UTF-8");
            let (directory, _) = asset.path.rsplit_once('/').expect("a path");
            for line in text.lines().filter(|line| line.starts_with("import ") || line.starts_with("} from ")) {
                let Some(module) = line.split('\'').nth(1) else { continue };
                let path = match module.strip_prefix("../") {
                    Some(above) => format!("/page/{above}"),
                    None => format!("{directory}/{}", module.trim_start_matches("./")),
                };
                assert!(find(&path).is_some(), "{}: {module}", asset.path);
                imports += 1;
            }
        }
        assert!(imports > 10, "{imports} imports found");
    }
}
