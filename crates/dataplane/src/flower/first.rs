//! The filters of the chain where packets begin.

use super::decode::Told;
use super::filter::{Filter, Purpose};

/// The filters of the chain where packets begin.
#[derive(Clone, Debug, Default)]
pub(super) struct First {
    /// What is never filtered.
    pub(super) protected: Vec<Filter>,
    /// What sends packets to the rules.
    pub(super) dispatch: Vec<Filter>,
}

impl First {
    /// What the kernel has; and the places of filters that are of somebody else.
    pub(super) fn of_kernel(there: Vec<Told>) -> (First, Vec<Filter>) {
        let (mut first, mut others) = (First::default(), Vec::new());
        for told in there {
            let Some(filter) = told.filter else { continue };
            match told.purpose {
                Some(Purpose::Protected) => first.protected.push(filter),
                Some(Purpose::Dispatch) => first.dispatch.push(filter),
                _ => others.push(filter),
            }
        }
        (first, others)
    }

    pub(super) fn filters(&self) -> impl Iterator<Item = &Filter> {
        self.protected.iter().chain(&self.dispatch)
    }
}
