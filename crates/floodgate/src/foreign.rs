//! Inputs of which parts are in another program's form: what BIRD, Junos, IOS XR, FRR, GoBGP,
//! ExaBGP and FastNetMon print.

use crate::input::Item;
use anyhow::Result;
use api::foreign::{Entry, ForeignError, ForeignRule, Reader};
use std::rc::Rc;

/// What an input, or several of them together, is.
pub(crate) enum Part {
    /// A line that is in no other program's form.
    Line(Rc<Item>),
    /// A rule of another program, with its first line.
    Rule(Rc<Item>, Box<ForeignRule>),
    /// Something of another program that is not a rule, with its first line.
    Error(Rc<Item>, ForeignError),
}

impl Part {
    /// The line, or the first of several.
    pub(crate) fn item(&self) -> &Item {
        match self {
            Part::Line(item) | Part::Rule(item, _) | Part::Error(item, _) => item,
        }
    }
}

/// Takes inputs one by one, and gives back their parts in order.
#[derive(Default)]
pub(crate) struct Parts {
    reader: Reader,
    /// The lines of what is being read.
    open: Vec<Rc<Item>>,
}

impl Parts {
    /// Takes an input of one line, or an argument of several, which ends there. Calls `each` for
    /// what is complete.
    pub(crate) fn take(&mut self, item: Item, mut each: impl FnMut(Part) -> Result<()>) -> Result<()> {
        let several = item.text().is_ok_and(|text| text.trim_end().contains('\n'));
        if several {
            item.lines().into_iter().try_for_each(|line| self.take_line(line, &mut each))?;
            return self.finish(each);
        }
        let is_argument = item.is_argument();
        self.take_line(item, &mut each)?;
        if is_argument { self.finish(each) } else { Ok(()) }
    }

    /// All inputs were taken.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(Part) -> Result<()>) -> Result<()> {
        let entries = self.reader.finish();
        self.pass_on(entries, &mut each)?;
        self.open.clear();
        Ok(())
    }

    fn take_line(&mut self, item: Item, each: &mut impl FnMut(Part) -> Result<()>) -> Result<()> {
        let Ok(text) = item.text() else { return each(Part::Line(Rc::new(item))) };
        if self.reader.passes(text) {
            return each(Part::Line(Rc::new(item)));
        }
        let (number, text) = (item.number, text.to_owned());
        self.open.push(Rc::new(item));
        let entries = self.reader.take(number, &text);
        self.pass_on(entries, each)?;
        if !self.reader.is_open() {
            self.open.clear();
        }
        Ok(())
    }

    fn pass_on(&self, entries: Vec<Entry>, each: &mut impl FnMut(Part) -> Result<()>) -> Result<()> {
        let item = |number: usize| self.open.iter().find(|item| item.number == number).map(Rc::clone);
        for entry in entries {
            let part = match entry {
                Entry::Line { number, .. } => item(number).map(Part::Line),
                Entry::Rule { number, rule } => item(number).map(|item| Part::Rule(item, rule)),
                Entry::Error { number, error } => item(number).map(|item| Part::Error(item, error)),
            };
            part.into_iter().try_for_each(&mut *each)?;
        }
        Ok(())
    }
}
