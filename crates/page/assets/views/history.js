// Rules of the past and of now, from the daemon's history on disk.

import { fill, h } from '../dom.js';
import { get, query } from '../api.js';
import { words } from '../dialogs.js';
import { duration, octets, packets, short, time } from '../format.js';
import { chart } from '../chart.js';
import { badge } from './rules.js';

const PART = 50;
const SINCE = [['1h', 'last hour'], ['1d', 'last day'], ['7d', 'last week'], ['30d', 'last 30 days'], ['', 'any time']];

/** How long a rule was there, or has been. */
const lasted = (incident) => duration((new Date(incident.ended ?? Date.now()) - new Date(incident.began)) / 1000);

function row(incident) {
  return h('tr', null,
    h('td', null, time(incident.began), h('span', { class: 'second' }, incident.ended ? `${lasted(incident)}, ${incident.end ?? 'ended'}` : `for ${lasted(incident)} now`)),
    h('td', null, badge(incident.state)),
    h('td', { class: 'text' }, h('a', { href: `#/history/${incident.number}`, class: 'rule-text' }, incident.text),
      h('span', { class: 'second' }, [incident.peer, incident.by, incident.reason].filter(Boolean).join(' · '))),
    h('td', { class: 'number wide' }, short(incident.packets)),
    h('td', { class: 'number' }, short(incident.dropped)));
}

/** What one rule matched, as a curve of packets a second. */
function curveOf(rates) {
  return rates.map(({ start, seconds, packets: count, bytes, dropped }) =>
    [new Date(start).getTime(), count / seconds, (bytes * 8) / seconds, dropped / seconds]);
}

function one(root, number) {
  const shown = h('div');
  fill(root, h('p', null, h('a', { href: '#/history' }, 'All of the history')), shown);
  return {
    async read() {
      try {
        const { states, rates, ...incident } = await get(`/v1/incidents/${encodeURIComponent(number)}`);
        fill(shown,
          h('h1', { class: 'rule-text' }, incident.text),
          h('p', null, badge(incident.state), ` ${incident.peer}`, incident.by ? `, by ${incident.by}` : '', `, ${time(incident.began)} – ${incident.ended ? `${time(incident.ended)} (${incident.end ?? 'ended'})` : 'now'}`),
          h('div', { class: 'columns' },
            h('section', { class: 'card' }, h('h2', null, 'Packets'), rates.length > 1 ? chart(curveOf(rates), 1, 'Packets a second') : h('p', { class: 'quiet' }, 'It matched too little for a curve.'),
              h('p', null, `${short(incident.packets)} packets, ${octets(incident.bytes)}; ${short(incident.dropped)} dropped.`, incident.peak ? ` Peak ${packets(incident.peak.packets_per_second)} at ${time(incident.peak.packets_time)}.` : '')),
            h('section', { class: 'card' }, h('h2', null, 'States'),
              h('ol', { class: 'events' }, states.map((state) => h('li', null, h('time', { datetime: state.time }, time(state.time)), badge(state.state), h('span', { class: 'event-words' }, state.reason ?? '', state.by ? ` by ${state.by}` : '')))))),
          h('p', null, h('a', { href: `#/rules/${encodeURIComponent(incident.id)}` }, 'The rule as it is now')));
      } catch (error) {
        fill(shown, h('h1', null, 'History'), h('p', { class: 'banner warn' }, words(error)));
      }
    },
  };
}

export function history(root, { id, search }) {
  if (id) return one(root, id);
  const chosen = { since: search.get('since') ?? '1d', rule: search.get('rule') ?? '', peer: search.get('peer') ?? '' };
  const rows = h('tbody');
  const told = h('p', { class: 'quiet', 'aria-live': 'polite' });
  const more = h('button', { type: 'button', hidden: true }, 'Earlier ones');
  let shown = [];
  const load = async (before) => {
    try {
      const part = await get(`/v1/incidents${query({ ...chosen, before, count: PART })}`);
      shown = before ? [...shown, ...part] : part;
      fill(rows, shown.map(row));
      more.hidden = part.length < PART;
      fill(told, shown.length ? '' : 'Nothing is remembered of that time.');
    } catch (error) {
      fill(told, words(error));
    }
  };
  more.addEventListener('click', () => load(shown[shown.length - 1].number));
  const field = (name, label) => [h('label', { for: `h-${name}` }, label), h('input', { id: `h-${name}`, type: 'search', value: chosen[name], autocomplete: 'off', spellcheck: 'false', onchange: (event) => {
    chosen[name] = event.target.value.trim();
    load();
  } })];
  fill(root, h('h1', null, 'History'),
    h('div', { class: 'toolbar' },
      h('label', { for: 'h-since' }, 'Since'),
      h('select', { id: 'h-since', onchange: (event) => {
        chosen.since = event.target.value;
        load();
      } }, SINCE.map(([value, name]) => h('option', { value, selected: value === chosen.since }, name))),
      field('rule', 'Rule'), field('peer', 'Peer')),
    told,
    h('section', { class: 'card' }, h('table', { class: 'incidents' }, h('caption', { class: 'unseen' }, 'Rules, the latest first'),
      h('thead', null, h('tr', null, ['Began', 'State', 'Rule'].map((name) => h('th', { scope: 'col' }, name)), h('th', { scope: 'col', class: 'number wide' }, 'Packets'), h('th', { scope: 'col', class: 'number' }, 'Dropped'))),
      rows), more));
  load();
}
