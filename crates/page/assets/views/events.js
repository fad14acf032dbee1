// What happened: the daemon's history.

import { fill, h } from '../dom.js';
import { get } from '../api.js';
import { counted, time } from '../format.js';

const BAD = ['peer-down', 'session-failed', 'malformed', 'not-enforced', 'apply-failed', 'damaged', 'reload-failed', 'paused'];
const GOOD = ['peer-up', 'announced', 'resumed', 'started'];

export function eventRow(event, short = false) {
  const kind = BAD.includes(event.event) ? 'bad' : GOOD.includes(event.event) ? 'good' : 'plain';
  return h('li', { 'data-event': event.event },
    h('time', { datetime: event.time }, time(event.time)),
    h('span', { class: `badge ${kind}` }, event.event),
    h('span', { class: 'event-words' },
      event.peer ? h('strong', null, event.peer) : null,
      !short && event.rule ? [' ', h('a', { href: `#/rules/${encodeURIComponent(event.id)}`, class: 'rule-text' }, event.rule)] : null,
      event.message ? ` ${event.message}` : null,
      event.by ? h('span', { class: 'quiet' }, ` by ${event.by}`) : null));
}

/** The words of an event that a filter can find. */
const wordsOf = (event) => [event.event, event.peer, event.id, event.rule, event.message, event.by].filter(Boolean).join(' ').toLowerCase();

export function events(root, { search }) {
  let all = [];
  const list = h('ol', { class: 'events' });
  const count = h('p', { class: 'quiet' });
  const filter = h('input', { type: 'search', id: 'filter', value: search.get('filter') ?? '', placeholder: 'kind, peer, id, word', 'aria-label': 'Filter: all words match', autocomplete: 'off', spellcheck: 'false' });
  const draw = () => {
    const wanted = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = all.filter((event) => {
      const text = wordsOf(event);
      return wanted.every((word) => text.includes(word));
    });
    fill(count, `${counted(found.length, 'event')} of the latest ${all.length}`);
    fill(list, found.slice(-500).reverse().map((event) => eventRow(event)));
  };
  filter.addEventListener('input', draw);
  fill(root, h('h1', null, 'Events'), h('div', { class: 'toolbar' }, filter), count, list);
  let latest = -1;
  return {
    async read() {
      const found = await get('/v1/history?count=1000');
      const number = found.length ? found[found.length - 1].number : 0;
      if (number === latest) return;
      latest = number;
      all = found;
      draw();
    },
  };
}
