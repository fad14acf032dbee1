//! A rule as it is shown with its current rate.

use api::{RateView, RuleView};

/// A rule, and its rate if there are two readings.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(super) struct RuleWithRate {
    #[serde(flatten)]
    pub(super) rule: RuleView,
    #[serde(flatten)]
    pub(super) rate: Option<RateView>,
}
