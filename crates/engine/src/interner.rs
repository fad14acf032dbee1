//! Sharing of equal routes.

use crate::route::Route;
use std::collections::HashSet;
use std::sync::Arc;

/// Equal routes are one value, so that they are compared by pointer and take memory once.
#[derive(Debug, Default)]
pub(crate) struct RouteInterner {
    known: HashSet<Arc<Route>>,
    /// The last request and its result: routes of one UPDATE are one value.
    last: Option<(Arc<Route>, Arc<Route>)>,
    sweep_at: usize,
}

impl RouteInterner {
    /// The known route that is equal to this one, or else this one, which is known from then on.
    pub(crate) fn intern(&mut self, route: Arc<Route>) -> Arc<Route> {
        if let Some((last, known)) = &self.last
            && Arc::ptr_eq(last, &route)
        {
            return known.clone();
        }
        let known = self.find(route.clone());
        self.last = Some((route, known.clone()));
        known
    }

    fn find(&mut self, route: Arc<Route>) -> Arc<Route> {
        if let Some(known) = self.known.get(&route) {
            return known.clone();
        }
        if self.known.len() >= self.sweep_at.max(1024) {
            self.known.retain(|route| Arc::strong_count(route) > 1);
            self.sweep_at = self.known.len() * 2;
        }
        self.known.insert(route.clone());
        route
    }
}
