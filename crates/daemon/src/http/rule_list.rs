//! `GET /v1/rules/list`: a part of a list of rules, sorted and filtered by the daemon, so that a
//! page that shows some of 100,000 rules asks for these alone. `GET /v1/rules/ID`: one rule.

use super::failure::Failure;
use super::state::ApiState;
use crate::command::{Command, Found};
use crate::rule_filter::RuleFilter;
use crate::rule_selection::{ListOrder, RuleSelection, sorted};
use api::{Named, RuleList, RuleState, RuleView};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use flowspec::{Nlri, RuleId};
use serde::Deserialize;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

/// Most rules in one answer.
pub(crate) const LIST_LIMIT: usize = 200;

/// Rules in an answer, unless the request says how many.
const LIST_USUAL: usize = 100;

/// Lists that are kept for the next part of them.
const KEPT_LISTS: usize = 4;

/// Ids whose rules are remembered.
const KEPT_IDS: usize = 256;

/// A list is made anew when it is this many times as old as making it took: whoever looks at a long
/// list takes a twentieth of the controller's time at most, however many they are.
const AGE_FACTOR: u32 = 20;

/// After so long without a request all lists are forgotten.
const FORGET: Duration = Duration::from_secs(30);

/// Lists that were made a moment ago. Only one is made at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleLists(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    lists: VecDeque<Arc<MadeList>>,
    /// Rules that were asked for by their id.
    found: HashMap<RuleId, Arc<Nlri>>,
    /// When a list was asked for the last time.
    used: Option<Instant>,
    /// A task waits to forget them.
    has_sweeper: bool,
}

#[derive(Debug)]
struct MadeList {
    selection: Arc<RuleSelection>,
    nlris: Vec<Arc<Nlri>>,
    made: Instant,
    took: Duration,
}

impl RuleLists {
    /// The list of these rules, as it is now or was a moment ago.
    async fn get(&self, state: &ApiState, selection: RuleSelection) -> Result<Arc<MadeList>, Failure> {
        let now = Instant::now();
        let mut kept = self.lock().await;
        kept.lists.retain(|list| now.duration_since(list.made) <= list.took * AGE_FACTOR);
        if let Some(list) = kept.lists.iter().find(|list| *list.selection == selection) {
            return Ok(Arc::clone(list));
        }
        let selection = Arc::new(selection);
        let (mut selected, mut after) = (Vec::new(), None);
        loop {
            let selection = Arc::clone(&selection);
            let (some, more) = state.ask(|answer| Command::Select { selection, after, answer }).await?;
            selected.extend(some);
            after = more;
            if after.is_none() {
                break;
            }
        }
        let nlris = sorted(selected);
        let list = Arc::new(MadeList { selection, nlris, made: Instant::now(), took: now.elapsed() });
        if kept.lists.len() == KEPT_LISTS {
            kept.lists.pop_front();
        }
        kept.lists.push_back(Arc::clone(&list));
        Ok(list)
    }

    /// The key of the rule with this id. Only one is searched for at a time.
    async fn find(&self, state: &ApiState, id: RuleId) -> Result<Arc<Nlri>, Failure> {
        let mut kept = self.lock().await;
        if let Some(nlri) = kept.found.get(&id) {
            return Ok(Arc::clone(nlri));
        }
        let nlri = rule_by_id(state, id).await?;
        if kept.found.len() == KEPT_IDS {
            kept.found.clear();
        }
        kept.found.insert(id, Arc::clone(&nlri));
        Ok(nlri)
    }

    /// What is kept, which is forgotten some time after its last use.
    async fn lock(&self) -> MutexGuard<'_, Kept> {
        let mut kept = self.0.lock().await;
        kept.used = Some(Instant::now());
        if !std::mem::replace(&mut kept.has_sweeper, true) {
            tokio::spawn(forget_unused(Arc::clone(&self.0), FORGET));
        }
        kept
    }
}

/// Lists keep rules in memory that were withdrawn since.
async fn forget_unused(lists: Arc<Mutex<Kept>>, unused: Duration) {
    loop {
        tokio::time::sleep(unused).await;
        let mut kept = lists.lock().await;
        if kept.used.is_none_or(|used| used.elapsed() >= unused) {
            *kept = Kept::default();
            return;
        }
    }
}

/// What a list is asked for with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Words, as for `/v1/rules`.
    #[serde(default)]
    filter: String,
    /// States, separated by commas.
    #[serde(default)]
    state: String,
    #[serde(default)]
    sort: ListOrder,
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
}

/// A part of a list.
pub(super) async fn list(
    State(state): State<ApiState>,
    Extension(lists): Extension<RuleLists>,
    Query(query): Query<ListQuery>,
) -> Result<Json<RuleList>, Failure> {
    let names = query.state.split(',').map(str::trim).filter(|name| !name.is_empty());
    let known = |name: &str| {
        RuleState::from_name(name).ok_or_else(|| Failure::bad(format!("`{name}` is not a state of a rule")))
    };
    let states = names.map(known).collect::<Result<_, _>>()?;
    let selection = RuleSelection { filter: RuleFilter::parse(&query.filter), states, order: query.sort };
    let list = lists.get(&state, selection).await?;
    let limit = query.limit.unwrap_or(LIST_USUAL).min(LIST_LIMIT);
    let part: Vec<Arc<Nlri>> = list.nlris.iter().skip(query.offset).take(limit).cloned().collect();
    let rules = state.ask(|answer| Command::RulesOf(part, answer)).await?;
    Ok(Json(RuleList { rules, offset: query.offset, matching: list.nlris.len() }))
}

/// One rule.
pub(super) async fn rule(
    State(state): State<ApiState>,
    Extension(lists): Extension<RuleLists>,
    Path(id): Path<String>,
) -> Result<Json<RuleView>, Failure> {
    let id = id.parse().map_err(|_| Failure::bad("an id has 12 hex digits"))?;
    let nlri = lists.find(&state, id).await?;
    let view = state.ask(|answer| Command::Rule(nlri, answer)).await?;
    view.map(Json).ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, "there is no such rule"))
}

/// The rule with this id. Many rules of peers are searched in steps, so that decisions do not wait.
pub(super) async fn rule_by_id(state: &ApiState, id: RuleId) -> Result<Arc<Nlri>, Failure> {
    let mut after = None;
    loop {
        match state.ask(|answer| Command::Find { id, after, answer }).await? {
            Found::Rule(nlri) => return Ok(nlri),
            Found::NotUntil(nlri) => after = Some(nlri),
            Found::None => return Err(Failure::new(StatusCode::NOT_FOUND, "there is no such rule")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule_selection::SelectedRule;
    use axum::response::IntoResponse;
    use tokio::sync::mpsc;

    /// A controller with this many rules that gives them one a step; and how many lists it made.
    fn controller(rules: u64) -> (ApiState, tokio::task::JoinHandle<usize>) {
        let (commands, mut inbox) = mpsc::channel(4);
        let (reload, _) = mpsc::channel(1);
        let nlri = |n: u64| Arc::new(format!("dst 192.0.2.{n}/32").parse::<Nlri>().unwrap());
        let task = tokio::spawn(async move {
            let mut made = 0;
            let mut next = 0;
            while let Some(command) = inbox.recv().await {
                match command {
                    Command::Select { after, answer, selection } => {
                        if after.is_none() {
                            (made, next) = (made + 1, 0);
                        }
                        // Making a list takes long enough for the next request to find it.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        let rank = if selection.order == ListOrder::Packets { (next, 0) } else { (0, 0) };
                        let (rule, this) = (SelectedRule { nlri: nlri(next), rank }, nlri(next));
                        next += 1;
                        answer.send((vec![rule], (next < rules).then_some(this))).unwrap();
                    }
                    Command::RulesOf(nlris, answer) => {
                        let view = |nlri: &Arc<Nlri>| RuleView { text: nlri.to_string(), ..RuleView::default() };
                        answer.send(nlris.iter().map(view).collect()).unwrap();
                    }
                    other => panic!("{other:?}"),
                }
            }
            made
        });
        (ApiState::new(commands, reload), task)
    }

    fn query(sort: ListOrder, offset: usize, limit: usize) -> Query<ListQuery> {
        Query(ListQuery { filter: String::new(), state: String::new(), sort, offset, limit: Some(limit) })
    }

    #[tokio::test]
    async fn parts_of_a_list_fit_together_and_it_is_made_once() {
        let ((state, task), lists) = (controller(7), RuleLists::default());
        let mut texts = Vec::new();
        for offset in [0, 3, 6, 9, usize::MAX] {
            let part = list(State(state.clone()), Extension(lists.clone()), query(ListOrder::Packets, offset, 3)).await;
            let Json(part) = part.unwrap_or_else(|_| panic!("no list"));
            assert_eq!((part.offset, part.matching), (offset, 7));
            texts.extend(part.rules.into_iter().map(|rule| rule.text));
        }
        assert_eq!(texts, (0..7).rev().map(|n| format!("dst 192.0.2.{n}/32")).collect::<Vec<_>>());
        drop(state);
        assert_eq!(task.await.unwrap(), 1);
    }

    #[tokio::test]
    async fn an_old_list_is_made_again_and_an_unused_one_forgotten() {
        let ((state, task), lists) = (controller(2), RuleLists::default());
        let made = async || {
            assert!(
                list(State(state.clone()), Extension(lists.clone()), query(ListOrder::Enforcement, 0, 10))
                    .await
                    .is_ok()
            );
            lists.0.lock().await.lists.back().expect("a list").made
        };
        let first = made().await;
        while made().await == first {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        forget_unused(Arc::clone(&lists.0), Duration::from_millis(1)).await;
        assert!(lists.0.lock().await.lists.is_empty(), "withdrawn rules stay in memory");
        drop(state);
        assert!(task.await.unwrap() >= 2);
    }

    #[tokio::test]
    async fn an_unknown_state_is_an_error_and_not_an_empty_list() {
        let (state, _task) = controller(1);
        let wrong = ListQuery { state: "refused,wrong".to_owned(), ..query(ListOrder::default(), 0, 1).0 };
        let failure = list(State(state), Extension::default(), Query(wrong)).await.expect_err("an error");
        assert_eq!(failure.into_response().status(), StatusCode::BAD_REQUEST);
    }
}
