// The BGP peers.

import { fill, h, terms } from '../dom.js';
import { get, now, query, until } from '../api.js';
import { bits, counted, duration, packets, short, time, whole } from '../format.js';

function card(peer, traffic) {
  const up = peer.state === 'established';
  const malformed = Object.entries(peer.malformed).map(([kind, count]) => `${count} ${kind}`).join(', ');
  const states = peer.rule_states ?? null;
  const count = (...names) => (states ? names.reduce((sum, name) => sum + (states[name] ?? 0), 0) : null);
  const tally = states && h('ul', { class: 'tally' },
    [['accepted', count('installed', 'stale', 'pending', 'shadowed'), 'good'], ['guarded', count('guarded'), 'bad'], ['infeasible', count('infeasible'), 'bad'], ['refused', count('refused', 'over-capacity', 'failed'), 'bad']]
      .map(([name, number, kind]) => h('li', { class: number && kind === 'bad' ? 'bad' : '' }, h('strong', null, whole(number)), ` ${name}`)));
  return h('article', { class: 'card peer', 'data-peer': peer.name },
    h('h2', null, peer.name, ' ', h('span', { class: `badge ${up ? 'good' : 'bad'}` }, peer.state)),
    peer.last_error && !up ? h('p', { class: 'banner bad' }, peer.last_error) : null,
    tally,
    terms([
      ['Address', `${peer.address}, AS ${peer.as}`],
      [up ? 'Established for' : 'In this state for', `${duration((now() - new Date(peer.since).getTime()) / 1000)}, since ${time(peer.since)}`],
      ['Next try', peer.next_try ? `in ${duration(until(peer.next_try))}` : null],
      ['Last error', up ? peer.last_error : null],
      ['Families', peer.families.join(', ') || 'none'],
      ['Hold time', peer.hold_time === null ? null : `${peer.hold_time} s`],
      ['Rules', h('a', { href: `#/rules${query({ filter: peer.name })}` }, `${counted(peer.rules, 'rule')}${peer.stale ? `, ${whole(peer.stale)} of them stale` : ''}`)],
      ['Matched now', traffic?.rate ? `${packets(traffic.rate.packets_per_second)}, ${bits(traffic.rate.bits_per_second)}` : null],
      ['Dropped since the start', traffic ? `${short(traffic.dropped)} packets` : null],
      ['Sessions', `${whole(peer.established_count)} since the start, ${counted(peer.updates, 'UPDATE message')}`],
      ['Malformed', malformed || null],
    ]));
}

export function peers(root) {
  const list = h('div', { class: 'cards' });
  fill(root, h('h1', null, 'Peers'), list);
  return {
    async read() {
      const [all, traffic] = await Promise.all([get('/v1/peers'), get('/v1/traffic')]);
      const of = (name) => traffic.find((sum) => sum.peer === name && !sum.action && !sum.family);
      // Those without a session first.
      const sorted = [...all].sort((a, b) => (a.state === 'established') - (b.state === 'established') || (a.name < b.name ? -1 : 1));
      fill(list, sorted.length ? sorted.map((peer) => card(peer, of(peer.name))) : h('p', { class: 'quiet' }, 'No peer is configured.'));
    },
  };
}
