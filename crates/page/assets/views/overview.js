// What matters now.

import { fill, h, terms } from '../dom.js';
import { get } from '../api.js';
import { UNENFORCED, bits, counted, duration, octets, packets, short, time, whole } from '../format.js';
import { curve, live, record } from '../live.js';
import { chart, gauge, sparkline } from '../chart.js';
import { badge, ruleAddress } from './rules.js';
import { eventRow } from './events.js';
import { judge, unenforced, unfiltered } from '../strip.js';

/** What needs somebody, the worst first. */
function problems(status) {
  const list = [];
  const add = (kind, text, href) => list.push(h('li', { class: kind }, href ? h('a', { href }, text) : text));
  for (const { interface: name, reason } of unfiltered(status)) add('bad', `${name} is not filtered: ${reason ?? 'for an unknown reason'}.`);
  if (status.fallback) add('bad', `${status.backend} filters instead of ${status.fallback.configured}: ${status.fallback.reason}.`);
  if (status.state_error) add('bad', `Changes are not saved: ${status.state_error}.`);
  const not = unenforced(status);
  if (not) add('bad', `${counted(not, 'rule is', 'rules are')} announced and not in force.`, `#/rules?state=${UNENFORCED.join(',')}`);
  const down = status.peers - status.established;
  if (down) add('warn', `${counted(down, 'peer has', 'peers have')} no session.`, '#/peers');
  if (status.rules.stale) add('warn', `${counted(status.rules.stale, 'rule is', 'rules are')} stale: still enforced after the loss of a session.`, '#/rules?state=stale');
  // What the page says itself, with a way to more of it, is not said twice.
  const own = /announced and not enforced|^\S+ is not filtered: /;
  for (const warning of status.warnings) if (!own.test(warning)) add('warn', warning);
  for (const advice of status.advice) add('plain', advice);
  return list;
}

function busy(rule) {
  return h('tr', null,
    h('td', null, badge(rule.state)),
    h('td', { class: 'text' }, h('a', { href: ruleAddress(rule), class: 'rule-text', title: rule.text }, rule.text)),
    h('td', { class: 'number' }, packets(rule.rate?.packets_per_second)),
    h('td', { class: 'number wide' }, bits(rule.rate?.bits_per_second)),
    h('td', { class: 'wide' }, sparkline(curve(rule.id))));
}

function notInForce(rule) {
  return h('li', null, badge(rule.state), ' ', h('a', { href: ruleAddress(rule), class: 'rule-text' }, rule.text), h('span', { class: 'second' }, rule.reason ?? ''));
}

function daemon(status) {
  return terms([
    ['Version', status.version],
    ['Router', `AS ${status.as}, ${status.router_id}`],
    ['Running for', `${duration((Date.now() - new Date(status.started).getTime()) / 1000)}, since ${time(status.started)}`],
    ['Back end', `${status.backend}, ${counted(status.applied, 'change')} applied, the latest in ${status.apply_ms.toFixed(1)} ms`],
    ['Failed changes', status.failures ? whole(status.failures) : null],
    ['Repaired damages', status.damages ? whole(status.damages) : null],
    ['Memory of the data plane', status.dataplane_memory === null ? null : octets(status.dataplane_memory)],
    ['Interfaces', status.interfaces === null ? 'all' : status.interfaces.join(', ') || 'none'],
    ['Never filtered', status.protected.length ? h('ul', { class: 'plain-list' }, status.protected.map((what) => h('li', null, what))) : 'nothing is protected'],
  ]);
}

export function overview(root) {
  const attention = h('ul', { class: 'problems' });
  const drops = h('div');
  const sums = h('div');
  const table = h('div');
  const capacity = h('div');
  const busiest = h('tbody');
  const idle = h('p', { class: 'quiet' }, 'No rule matches packets now.');
  const refused = h('ul', { class: 'plain-list' });
  const recent = h('ol', { class: 'events' });
  const about = h('div');
  const refusedCard = h('section', { class: 'card', hidden: true }, h('h2', null, 'Not in force'), refused);
  fill(root,
    h('h1', { class: 'unseen' }, 'Overview'),
    h('section', { class: 'card', 'aria-label': 'Needs attention' }, h('h2', null, 'Needs attention'), attention),
    h('div', { class: 'columns' },
      h('section', { class: 'card' }, h('h2', null, 'Dropped'), drops, sums),
      h('section', { class: 'card' }, h('h2', null, 'Busiest rules'), table, capacity)),
    refusedCard,
    h('div', { class: 'columns' },
      h('section', { class: 'card' }, h('h2', null, 'Events'), recent, h('p', null, h('a', { href: '#/events' }, 'All events'))),
      h('section', { class: 'card' }, h('h2', null, 'Daemon'), about)));
  fill(table, h('table', { class: 'busiest' },
    h('caption', { class: 'unseen' }, 'Rules that match most packets now'),
    h('thead', null, h('tr', null, ['State', 'Rule'].map((name) => h('th', { scope: 'col' }, name)), h('th', { scope: 'col', class: 'number' }, 'Packets'), h('th', { scope: 'col', class: 'number wide' }, 'Bits'), h('th', { scope: 'col', class: 'wide' }, 'Last minutes'))),
    busiest));
  return {
    title: 'Overview',
    async read() {
      const { status } = live;
      if (!status) return;
      const not = unenforced(status);
      const [most, bad, history] = await Promise.all([
        get('/v1/rules/list?sort=packets&limit=8'),
        not ? get(`/v1/rules/list?state=${UNENFORCED.join(',')}&limit=8`) : { rules: [] },
        get('/v1/history?count=12'),
      ]);
      most.rules.forEach((rule) => record(rule.id, rule.rate));
      const found = problems(status);
      fill(attention, found.length ? found : h('li', { class: 'good' }, judge(live)[2] === 'good' ? 'Nothing: all rules are in force, all peers are established, all interfaces are filtered.' : 'Nothing else.'));
      fill(drops, chart(curve('all'), 3, 'Dropped packets a second'));
      fill(sums, h('p', { class: 'quiet' }, `${short(status.traffic.dropped)} packets dropped of ${short(status.traffic.packets)} that matched since the daemon started.`));
      const active = most.rules.filter((rule) => rule.rate?.packets_per_second > 0);
      fill(busiest, active.map(busy));
      fill(table, active.length ? busiest.parentElement : idle);
      fill(capacity, status.capacity ? [h('h2', null, 'Table'), gauge(status.entries, status.capacity, 'entries')] : h('p', { class: 'quiet' }, `${counted(status.entries, 'entry', 'entries')} in the data plane, which has no limit of its own.`));
      refusedCard.hidden = bad.rules.length === 0;
      fill(refused, bad.rules.map(notInForce));
      fill(recent, history.reverse().map((event) => eventRow(event)));
      fill(about, daemon(status));
    },
  };
}
