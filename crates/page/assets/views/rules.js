// All rules: filtered and sorted by the daemon.

import { fill, h } from '../dom.js';
import { get, query } from '../api.js';
import { UNENFORCED, bits, counted, kindOfState, packets } from '../format.js';
import { curve, record } from '../live.js';
import { sparkline } from '../chart.js';
import { VirtualList } from '../virtual.js';
import { newRule } from '../actions.js';

const ORDERS = [['enforcement', 'order of enforcement'], ['packets', 'packets a second'], ['bits', 'bits a second'], ['dropped', 'dropped a second'], ['peak', 'peak'], ['last-hit', 'last hit'], ['total', 'packets in total']];
const STATES = [['', 'any state'], [UNENFORCED.join(','), 'not in force'], ...['installed', 'stale', 'pending', 'shadowed', ...UNENFORCED].map((state) => [state, state])];

export const ruleAddress = (rule) => `#/rules/${encodeURIComponent(rule.id)}`;

export function badge(state) {
  return h('span', { class: `badge ${kindOfState(state)}` }, state);
}

const COLUMNS = [['State', 'state'], ['Rule', 'text'], ['Packets', 'number'], ['Bits', 'number wide'], ['Dropped', 'number wide'], ['Last minutes', 'curve wide']];

function cells(rule) {
  const peers = rule.origins.map((origin) => origin.peer).join(', ');
  const second = [rule.id, peers, rule.reason].filter(Boolean).join(' · ');
  return [
    h('span', { class: 'cell state', role: 'cell' }, badge(rule.state)),
    h('span', { class: 'cell text', role: 'cell' },
      h('a', { href: ruleAddress(rule), class: 'rule-text', title: rule.text }, rule.text),
      h('span', { class: 'second', title: second }, second)),
    h('span', { class: 'cell number', role: 'cell' }, packets(rule.rate?.packets_per_second)),
    h('span', { class: 'cell number wide', role: 'cell' }, bits(rule.rate?.bits_per_second)),
    h('span', { class: 'cell number wide', role: 'cell' }, packets(rule.rate?.dropped_per_second)),
    h('span', { class: 'cell curve wide', role: 'cell' }, sparkline(curve(rule.id))),
  ];
}

export function rules(root, { search }) {
  const chosen = { filter: search.get('filter') ?? '', state: search.get('state') ?? '', sort: search.get('sort') ?? 'enforcement' };
  const count = h('p', { class: 'quiet', 'aria-live': 'polite' });
  const list = new VirtualList({
    label: 'Rules',
    columns: COLUMNS,
    key: (rule) => rule.id,
    address: ruleAddress,
    draw: cells,
    empty: () => (chosen.filter || chosen.state ? 'No rule matches.' : 'There are no rules: nobody has announced any.'),
    async load(offset, limit) {
      const part = await get(`/v1/rules/list${query({ ...chosen, offset, limit })}`);
      part.rules.forEach((rule) => record(rule.id, rule.rate));
      fill(count, counted(part.matching, 'rule'));
      return part;
    },
  });
  let timer = null;
  const changed = () => {
    history.replaceState(null, '', `#/rules${query({ ...chosen, sort: chosen.sort === 'enforcement' ? '' : chosen.sort })}`);
    list.restart().catch(() => {});
  };
  const select = (id, label, options, field) => [
    h('label', { for: id }, label),
    h('select', { id, onchange: (event) => {
      chosen[field] = event.target.value;
      changed();
    } }, options.map(([value, name]) => h('option', { value, selected: value === chosen[field] }, name))),
  ];
  const filter = h('input', {
    type: 'search', id: 'filter', value: chosen.filter, autocomplete: 'off', spellcheck: 'false',
    placeholder: 'address, peer, id, word of the text', 'aria-label': 'Filter: all words match',
    oninput: () => {
      chosen.filter = filter.value.trim();
      clearTimeout(timer);
      timer = setTimeout(changed, 250);
    },
  });
  fill(root,
    h('h1', null, 'Rules'),
    h('div', { class: 'toolbar' },
      filter, select('state', 'State', STATES, 'state'), select('sort', 'Sort by', ORDERS, 'sort'),
      h('button', { type: 'button', class: 'primary', id: 'new-rule', onclick: () => newRule() }, 'New rule')),
    count, list.box);
  return { read: () => list.refresh(), leave: () => list.leave() };
}
