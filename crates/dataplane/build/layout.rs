//! The memory layout that the XDP program and its loader share, read from the program's headers:
//! structures and constants for the loader, and assertions with which clang confirms that it lays
//! them out the same.
//!
//! The headers are the only source. What is read of C is what they are written in: `#define` with a
//! constant expression, `enum`, and `struct` of integers, arrays and other such structures. A
//! structure with padding is refused: the loader takes any octets for a value.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why a layout cannot be read.
#[derive(Debug)]
pub(crate) enum LayoutError {
    /// A header cannot be read.
    Io(PathBuf, io::Error),
    /// There is no such constant or structure.
    Missing(String),
    /// Not the C that is understood.
    Syntax(String),
    /// A structure has octets that are none of its fields'.
    Padding { structure: String, field: String },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayoutError::Io(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            LayoutError::Missing(name) => write!(f, "the headers of the XDP program have no {name}"),
            LayoutError::Syntax(text) => write!(f, "cannot read `{text}` in the headers of the XDP program"),
            LayoutError::Padding { structure, field } => write!(f, "struct {structure} has padding before {field}"),
        }
    }
}

/// What the headers define.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    /// Their text, without comments.
    text: String,
    constants: BTreeMap<String, u64>,
}

/// A structure as it is laid out.
#[derive(Debug)]
struct Structure {
    fields: Vec<Field>,
    size: u64,
    align: u64,
}

#[derive(Debug)]
struct Field {
    name: String,
    /// The type in Rust, without array lengths.
    element: String,
    lengths: Vec<u64>,
    offset: u64,
}

impl Headers {
    /// Reads headers, of which later ones may use what earlier ones define.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Self, LayoutError> {
        let mut headers = Headers::default();
        for path in paths {
            headers.add(&fs::read_to_string(path).map_err(|error| LayoutError::Io(path.clone(), error))?)?;
        }
        Ok(headers)
    }

    fn add(&mut self, text: &str) -> Result<(), LayoutError> {
        let text = without_comments(text);
        for line in text.lines() {
            let Some((name, value)) = line.strip_prefix("#define ").and_then(|rest| rest.split_once([' ', '\t']))
            else {
                continue;
            };
            // Macros with arguments, and those that are no numbers, are the program's alone.
            if let Ok(value) = self.evaluate(value) {
                self.constants.insert(name.to_owned(), value);
            }
        }
        let mut rest = text.as_str();
        while let Some((_, behind)) = rest.split_once("\nenum ") {
            let (head, body) = behind.split_once('{').ok_or_else(|| LayoutError::Syntax(line_of(behind)))?;
            let (body, after) = body.split_once('}').ok_or_else(|| LayoutError::Syntax(line_of(head)))?;
            self.enumeration(body)?;
            rest = after;
        }
        self.text.push('\n');
        self.text.push_str(&text);
        Ok(())
    }

    fn enumeration(&mut self, body: &str) -> Result<(), LayoutError> {
        let mut next = 0;
        for item in body.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (name, value) = match item.split_once('=') {
                Some((name, value)) => (name.trim(), self.evaluate(value)?),
                None => (item, next),
            };
            self.constants.insert(name.to_owned(), value);
            next = value + 1;
        }
        Ok(())
    }

    fn constant(&self, name: &str) -> Result<u64, LayoutError> {
        self.constants.get(name).copied().ok_or_else(|| LayoutError::Missing(name.to_owned()))
    }

    /// The value of a constant expression: `|`, shifts, `+`, `-`, `*`, `/`, parentheses, numbers,
    /// other constants.
    fn evaluate(&self, text: &str) -> Result<u64, LayoutError> {
        let mut expression = Expression { headers: self, rest: text.trim() };
        let value = expression.or()?;
        if expression.rest.is_empty() { Ok(value) } else { Err(LayoutError::Syntax(text.to_owned())) }
    }

    /// A structure and where its fields are; `names` are those of other structures in Rust.
    fn structure(&self, name: &str, names: &[(&str, &str)]) -> Result<Structure, LayoutError> {
        let begin = format!("\nstruct {name} {{");
        let missing = || LayoutError::Missing(format!("struct {name}"));
        let (_, behind) = self.text.split_once(&begin).ok_or_else(missing)?;
        let (body, _) = behind.split_once('}').ok_or_else(missing)?;
        let mut structure = Structure { fields: Vec::new(), size: 0, align: 1 };
        for declaration in body.split(';').map(str::trim).filter(|declaration| !declaration.is_empty()) {
            let syntax = || LayoutError::Syntax(declaration.to_owned());
            let declaration = declaration.strip_prefix("struct ").map_or((false, declaration), |rest| (true, rest));
            let (is_structure, declaration) = declaration;
            let (kind, declarators) = declaration.split_once([' ', '\t']).ok_or_else(syntax)?;
            let (element, size, align) = if is_structure {
                let inner = self.structure(kind, names)?;
                let rust = names.iter().find(|(c, _)| *c == kind).map(|(_, rust)| *rust).ok_or_else(syntax)?;
                (rust, inner.size, inner.align)
            } else {
                integer(kind).ok_or_else(syntax)?
            };
            for declarator in declarators.split(',').map(str::trim) {
                let mut parts = declarator.split('[');
                let field = parts.next().unwrap_or_default().trim();
                let length = |part: &str| self.evaluate(part.trim_end().strip_suffix(']').ok_or_else(syntax)?);
                let lengths = parts.map(length).collect::<Result<Vec<u64>, _>>()?;
                if !structure.size.is_multiple_of(align) {
                    return Err(LayoutError::Padding { structure: name.to_owned(), field: field.to_owned() });
                }
                let offset = structure.size;
                structure.size += size * lengths.iter().product::<u64>();
                structure.align = structure.align.max(align);
                structure.fields.push(Field { name: field.to_owned(), element: element.to_owned(), lengths, offset });
            }
        }
        if !structure.size.is_multiple_of(structure.align) {
            return Err(LayoutError::Padding { structure: name.to_owned(), field: "its end".to_owned() });
        }
        Ok(structure)
    }

    /// Constants in Rust: each with its name in C, its name in Rust, and its type there.
    pub(crate) fn rust_constants(&self, wanted: &[(&str, &str, &str)]) -> Result<String, LayoutError> {
        let mut out = String::new();
        for (c, rust, kind) in wanted {
            let _ = writeln!(out, "pub(super) const {rust}: {kind} = {:#x};", self.constant(c)?);
        }
        Ok(out)
    }

    /// Structures in Rust, each with its size and the place of each of its fields asserted.
    pub(crate) fn rust_structures(&self, names: &[(&str, &str)], wanted: &[&str]) -> Result<String, LayoutError> {
        let mut out = String::new();
        for (c, rust) in names.iter().filter(|(c, _)| wanted.contains(c)) {
            let structure = self.structure(c, names)?;
            let _ = writeln!(out, "/// `struct {c}` of the program.");
            let _ =
                writeln!(out, "#[derive(Clone, Copy, Debug, PartialEq, Eq)]\n#[repr(C)]\npub(super) struct {rust} {{");
            for Field { name, element, lengths, .. } in &structure.fields {
                let kind = lengths.iter().rev().fold(element.clone(), |kind, length| format!("[{kind}; {length}]"));
                let _ = writeln!(out, "    pub(super) {name}: {kind},");
            }
            let _ = writeln!(out, "}}\nconst _: () = assert!(size_of::<{rust}>() == {});", structure.size);
            for Field { name, offset, .. } in &structure.fields {
                let _ = writeln!(out, "const _: () = assert!(std::mem::offset_of!({rust}, {name}) == {offset});");
            }
            let _ = writeln!(
                out,
                "// SAFETY: integers and arrays of them, without padding, as the generator has made sure.\n\
                 unsafe impl Plain for {rust} {{}}\n\
                 impl {rust} {{\n    #[allow(dead_code, reason = \"some are only ever read\")]\n    \
                 pub(super) const ZERO: {rust} = {{\n        // SAFETY: any octets are a value, zeros too.\n        \
                 unsafe {{ std::mem::zeroed() }}\n    }};\n}}\n"
            );
        }
        Ok(out)
    }

    /// C that clang compiles only if it lays the structures out as they are in Rust. `include` is
    /// the file that has them.
    pub(crate) fn assertions(
        &self,
        include: &Path,
        names: &[(&str, &str)],
        wanted: &[&str],
    ) -> Result<String, LayoutError> {
        let mut out = format!("#include \"{}\"\n", include.display());
        for (c, _) in names.iter().filter(|(c, _)| wanted.contains(c)) {
            let structure = self.structure(c, names)?;
            let _ = writeln!(out, "_Static_assert(sizeof(struct {c}) == {}, \"size of {c}\");", structure.size);
            for Field { name, offset, .. } in &structure.fields {
                let _ = writeln!(
                    out,
                    "_Static_assert(__builtin_offsetof(struct {c}, {name}) == {offset}, \"offset of {c}.{name}\");"
                );
            }
        }
        Ok(out)
    }
}

/// An integer type of C: its name in Rust, its size, its alignment.
fn integer(kind: &str) -> Option<(&'static str, u64, u64)> {
    Some(match kind {
        "__u8" => ("u8", 1, 1),
        "__u16" => ("u16", 2, 2),
        "__u32" => ("u32", 4, 4),
        "__s32" | "int" => ("i32", 4, 4),
        "__u64" => ("u64", 8, 8),
        _ => return None,
    })
}

struct Expression<'a> {
    headers: &'a Headers,
    rest: &'a str,
}

impl Expression<'_> {
    fn takes(&mut self, operator: &str) -> bool {
        match self.rest.strip_prefix(operator) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn or(&mut self) -> Result<u64, LayoutError> {
        let mut value = self.shift()?;
        while self.takes("|") {
            value |= self.shift()?;
        }
        Ok(value)
    }

    fn shift(&mut self) -> Result<u64, LayoutError> {
        let mut value = self.sum()?;
        loop {
            if self.takes("<<") {
                value = value.wrapping_shl(self.sum()? as u32);
            } else if self.takes(">>") {
                value = value.wrapping_shr(self.sum()? as u32);
            } else {
                return Ok(value);
            }
        }
    }

    fn sum(&mut self) -> Result<u64, LayoutError> {
        let mut value = self.product()?;
        loop {
            if self.takes("+") {
                value = value.wrapping_add(self.product()?);
            } else if self.takes("-") {
                value = value.wrapping_sub(self.product()?);
            } else {
                return Ok(value);
            }
        }
    }

    fn product(&mut self) -> Result<u64, LayoutError> {
        let mut value = self.atom()?;
        loop {
            if self.takes("*") {
                value = value.wrapping_mul(self.atom()?);
            } else if self.takes("/") {
                let by = self.atom()?;
                value = value.checked_div(by).ok_or_else(|| LayoutError::Syntax("a division by 0".to_owned()))?;
            } else {
                return Ok(value);
            }
        }
    }

    fn atom(&mut self) -> Result<u64, LayoutError> {
        if self.takes("(") {
            let value = self.or()?;
            return if self.takes(")") { Ok(value) } else { Err(LayoutError::Syntax(self.rest.to_owned())) };
        }
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = word.trim_end_matches(['u', 'U', 'l', 'L']);
            let parsed = match digits.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16),
                None => digits.parse(),
            };
            return parsed.map_err(|_| LayoutError::Syntax(word.to_owned()));
        }
        self.headers.constant(word)
    }
}

fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once("/*") {
        out.push_str(before);
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}

fn line_of(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "\
/* Two of them. */
#define COUNT 2
#define BITS ((1 << COUNT) | (3ULL << (2 * 4))) /* comment */
#define CALL(x) ((x) + 1)
enum kind { KIND_A, KIND_B = 7, KIND_C, };
struct inner { __u32 a, b; };
struct outer {
	__u64 id;	/* the
			   name */
	struct inner inner[COUNT];
	__u16 x[2][COUNT];
};
struct hole { __u8 a; __u32 b; };
struct tail { __u64 a; __u32 b; };
";

    fn headers() -> Headers {
        let mut headers = Headers::default();
        headers.add(HEADER).expect("a header");
        headers
    }

    #[test]
    fn constants_are_evaluated() {
        let headers = headers();
        for (name, value) in [("COUNT", 2), ("BITS", 0x304), ("KIND_A", 0), ("KIND_B", 7), ("KIND_C", 8)] {
            assert_eq!(headers.constant(name).expect(name), value, "{name}");
        }
        assert!(headers.constant("CALL(x)").is_err());
    }

    #[test]
    fn structures_are_laid_out_as_by_a_compiler_or_refused() {
        let headers = headers();
        let names = [("inner", "Inner"), ("outer", "Outer"), ("hole", "Hole"), ("tail", "Tail")];
        let outer = headers.structure("outer", &names).expect("outer");
        let offsets: Vec<u64> = outer.fields.iter().map(|field| field.offset).collect();
        assert_eq!((outer.size, outer.align, offsets), (32, 8, vec![0, 8, 24]));
        let text = headers.rust_structures(&names, &["outer"]).expect("outer");
        assert!(text.contains("inner: [Inner; 2],") && text.contains("x: [[u16; 2]; 2],"), "{text}");
        for padded in ["hole", "tail"] {
            assert!(matches!(headers.structure(padded, &names), Err(LayoutError::Padding { .. })), "{padded}");
        }
        assert!(matches!(headers.structure("none", &names), Err(LayoutError::Missing(_))));
    }
}
