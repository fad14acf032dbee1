//! `floodgate decode`: FlowSpec octets to rules.

use super::input::{self, HexError, Item, parse_hex, to_hex};
use super::output::{ErrorObject, Output};
use super::{DecodeArgs, NEGATIVE, OK};
use anyhow::Result;
use flowspec::{Family, NlriEntry, NlriIter};
use serde::Serialize;

/// Decodes every input; `NEGATIVE` when any was in error.
pub fn run(args: &DecodeArgs) -> Result<u8> {
    let mut output = Output::new();
    let mut status = OK;
    input::for_each(&args.input, |item| {
        let clean = match parse_hex(&item.text) {
            Ok(octets) => nlris(args.family.into(), &item, &octets, args.json, &mut output)?,
            Err(error) => {
                report_hex(&item, &error, args.json, &mut output)?;
                false
            }
        };
        if !clean {
            status = NEGATIVE;
        }
        Ok(())
    })?;
    output.finish()?;
    Ok(status)
}

#[derive(Serialize)]
struct NlriObject {
    input: usize,
    family: &'static str,
    nlri: String,
    canonical: String,
    id: String,
}

#[derive(Serialize)]
struct Failure<'a> {
    input: usize,
    error: ErrorObject<'a>,
}

fn nlris(family: Family, item: &Item, octets: &[u8], json: bool, output: &mut Output) -> Result<bool> {
    let mut clean = true;
    for NlriEntry { raw, nlri, .. } in NlriIter::new(family, false, octets) {
        match nlri {
            Ok(nlri) => {
                let canonical = nlri.to_canonical();
                let mut wire = Vec::with_capacity(canonical.wire_len());
                canonical.encode_to(&mut wire);
                let object = NlriObject {
                    input: item.number,
                    family: family.name(),
                    nlri: to_hex(raw),
                    canonical: to_hex(&wire),
                    id: canonical.id().to_string(),
                };
                if json {
                    output.json(&object)?;
                } else {
                    output.line(&format!("{}  {}", object.id, object.canonical))?;
                }
            }
            Err(error) => {
                clean = false;
                let object = ErrorObject { kind: error.kind.name(), offset: error.offset, message: error.to_string() };
                report(item, object, json, output)?;
            }
        }
    }
    Ok(clean)
}

fn report_hex(item: &Item, error: &HexError, json: bool, output: &mut Output) -> Result<()> {
    let offset = match error {
        HexError::Digit { column, .. } => column - 1,
        HexError::Odd => item.text.chars().count(),
        HexError::Empty => 0,
    };
    report(item, ErrorObject { kind: "hex", offset, message: error.to_string() }, json, output)
}

fn report(item: &Item, error: ErrorObject<'_>, json: bool, output: &mut Output) -> Result<()> {
    if json {
        output.json(&Failure { input: item.number, error })
    } else {
        eprintln!("floodgate: input {}: {}", item.number + 1, error.message);
        Ok(())
    }
}
