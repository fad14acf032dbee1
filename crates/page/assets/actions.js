// Changes: each is confirmed, and can be undone.

import { fill, h } from './dom.js';
import { get, hasToken, post, until } from './api.js';
import { attempt, confirm, dialog, toast, words } from './dialogs.js';
import { duration, parts } from './format.js';
import { live, refresh } from './live.js';
import { costs } from './costs.js';

const LIFETIMES = [['10m', '10 minutes'], ['30m', '30 minutes'], ['1h', '1 hour'], ['6h', '6 hours'], ['24h', '1 day'], ['7d', '7 days']];

/** The part of this machine in a rule, which others may announce, too. */
export const localPart = (rule) => rule.origins.find((origin) => origin.peer === 'local');
export const isLocal = (rule) => localPart(rule) !== undefined;

/** What is left of the life of our part of a rule, as the API takes it; undefined: no end. */
function left(rule) {
  const end = localPart(rule)?.expires;
  return end ? `${Math.max(1, Math.round(until(end)))}s` : undefined;
}

/** Announces; the way back is to what there was before, if that was ours. */
async function announce(text, lifetime, before) {
  const done = await post('/v1/announce', { rule: text, ...(lifetime && { for: lifetime }) });
  const id = done.rule?.id;
  const kind = done.rule && ['installed', 'pending'].includes(done.rule.state) ? 'good' : 'warn';
  const undo = async () => {
    const undone = before && isLocal(before)
      ? await post('/v1/announce', { rule: before.text, ...(left(before) && { for: left(before) }) })
      : await post('/v1/withdraw', { rule: id });
    refresh();
    return undone;
  };
  toast(done.message, id ? undo : null, kind);
  await refresh();
  return done;
}

/** The rule with this id, or null. */
async function existing(id) {
  try {
    return await get(`/v1/rules/${id}`);
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

/** A rule that takes what seldom is meant is asked about once more. */
function warnOf(hazards) {
  if (!hazards.length) return true;
  const most = hazards.some((hazard) => hazard.locks_out);
  return confirm(most ? 'This rule may lock you out' : 'This rule takes your own machine’s traffic', [
    h('p', null, 'It takes:'),
    h('ul', { class: 'hazards' }, hazards.map((hazard) => h('li', null, hazard.what))),
    most ? 'Perhaps nobody can withdraw it from here then. It ends by itself at the end of its lifetime.' : 'Is that meant?',
  ], 'Announce it all the same', true);
}

function lifetimeSelect(id, usual) {
  return h('select', { id }, LIFETIMES.map(([value, name]) => h('option', { value, selected: value === usual }, name)));
}

/** A new rule: its cost in each back end is shown before. */
export async function newRule(text = '') {
  // Reading the rule needs the token: it is asked for now, not while somebody types.
  if (!hasToken() && (await attempt(() => post('/v1/inspect', { text: 'dst 192.0.2.1/32 then discard' }))) === undefined) return;
  const chosen = await dialog('New rule', (decide) => {
    const input = h('textarea', { id: 'rule-text', rows: 3, spellcheck: 'false', autofocus: true, placeholder: 'dst 192.0.2.1/32 proto udp sport 123 then discard' });
    input.value = text;
    const lifetime = lifetimeSelect('rule-for', '1h');
    const shown = h('div', { class: 'inspection', 'aria-live': 'polite' });
    const submit = h('button', { type: 'submit', class: 'primary confirm', disabled: true }, 'Announce');
    let known = null;
    let timer = null;
    let asked = 0;
    const inspect = async () => {
      const number = ++asked;
      try {
        const inspection = await post('/v1/inspect', { text: input.value });
        if (number !== asked) return;
        known = inspection.rules.length === 1 && !inspection.errors.length ? inspection.rules[0] : null;
        const problem = inspection.errors[0] ?? (inspection.rules.length > 1 ? 'One rule at a time.' : null);
        fill(shown, problem && h('pre', { class: 'problem' }, problem), inspection.notes.map((note) => h('p', { class: 'quiet' }, note)), known && costs(known, live.status?.backend));
      } catch (error) {
        if (number !== asked) return;
        known = null;
        fill(shown, h('p', { class: 'problem' }, words(error)));
      }
      submit.disabled = !known;
    };
    input.addEventListener('input', () => {
      submit.disabled = true;
      clearTimeout(timer);
      timer = setTimeout(inspect, 300);
    });
    if (text) inspect();
    return h('form', { class: 'dialog-body', onsubmit: (event) => {
      event.preventDefault();
      if (known) decide({ rule: known, lifetime: lifetime.value });
    } },
    h('label', { for: 'rule-text' }, 'Rule'), input, shown,
    h('label', { for: 'rule-for' }, 'For'), lifetime,
    h('div', { class: 'buttons' }, h('button', { type: 'button', onclick: () => decide(null) }, 'Cancel'), submit));
  });
  if (!chosen || !(await warnOf(chosen.rule.hazards))) return;
  await attempt(async () => announce(chosen.rule.text, chosen.lifetime, await existing(chosen.rule.id)));
}

/** Another lifetime, from now on. */
export async function extend(rule) {
  const lifetime = await dialog('Extend the rule', (decide) => {
    const select = lifetimeSelect('extend-for', '1h');
    return h('form', { class: 'dialog-body', onsubmit: (event) => {
      event.preventDefault();
      decide(select.value);
    } },
    h('p', { class: 'rule-text' }, rule.text),
    h('p', null, localPart(rule).expires ? `It ends in ${duration(until(localPart(rule).expires))}.` : 'It has no end now; with a lifetime it gets one.'),
    h('label', { for: 'extend-for' }, 'From now on for'), select,
    h('div', { class: 'buttons' },
      h('button', { type: 'button', onclick: () => decide(null) }, 'Cancel'),
      h('button', { type: 'submit', class: 'primary confirm' }, 'Extend')));
  });
  if (lifetime) await attempt(() => announce(rule.text, lifetime, rule));
}

export async function withdraw(rule) {
  const shared = rule.origins.length > 1;
  const lines = [h('p', { class: 'rule-text' }, rule.text), shared ? 'The actions of the peers that announce it are used again.' : 'Its packets are no longer matched by it.'];
  if (!(await confirm('Withdraw the rule?', lines, 'Withdraw', true))) return;
  await attempt(async () => {
    const lifetime = left(rule);
    const done = await post('/v1/withdraw', { rule: rule.id });
    toast(done.message, async () => {
      const undone = await post('/v1/announce', { rule: rule.text, ...(lifetime && { for: lifetime }) });
      refresh();
      return undone;
    });
    await refresh();
  });
}

/** A rule of this machine with the same match comes before those of peers. */
export async function override(rule) {
  const [match] = parts(rule.text);
  const text = `${match} then accept`;
  const lines = [
    h('p', null, 'Only its peers can withdraw this rule:'),
    h('p', { class: 'rule-text' }, rule.text),
    h('p', null, 'A rule of this machine with the same match comes before theirs, for one hour:'),
    h('p', { class: 'rule-text' }, text),
  ];
  if (await confirm('Override the rule for an hour?', lines, 'Override', true)) await attempt(() => announce(text, '1h', null));
}

export async function pause() {
  const lifetime = await dialog('Pause filtering', (decide) => {
    const select = lifetimeSelect('pause-for', '30m');
    return h('form', { class: 'dialog-body', onsubmit: (event) => {
      event.preventDefault();
      decide(select.value);
    } },
    h('p', null, 'All filters are removed: nothing is dropped, limited or redirected. They come back by themselves at the end.'),
    h('label', { for: 'pause-for' }, 'For'), select,
    h('div', { class: 'buttons' },
      h('button', { type: 'button', autofocus: true, onclick: () => decide(null) }, 'Cancel'),
      h('button', { type: 'submit', class: 'danger confirm' }, 'Pause')));
  });
  if (!lifetime) return;
  await attempt(async () => {
    const done = await post('/v1/pause', { for: lifetime });
    toast(done.message, async () => {
      const undone = await post('/v1/resume');
      refresh();
      return undone;
    }, 'warn');
    await refresh();
  });
}

export async function resume() {
  if (!(await confirm('Resume filtering?', ['All rules that are in force take packets again.'], 'Resume'))) return;
  await attempt(async () => {
    const before = live.status?.paused_until;
    const done = await post('/v1/resume');
    toast(done.message, async () => {
      const undone = await post('/v1/pause', before ? { for: `${Math.max(1, Math.round(until(before)))}s` } : {});
      refresh();
      return undone;
    });
    await refresh();
  });
}
