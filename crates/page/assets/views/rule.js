// One rule: its curve, what is known of it, and what can be done with it.

import { fill, h, terms } from '../dom.js';
import { ApiError, get, query, until } from '../api.js';
import { bits, counted, duration, kindOfState, octets, packets, parts, short, time, whole } from '../format.js';
import { curve, record } from '../live.js';
import { chart } from '../chart.js';
import { badge } from './rules.js';
import { extend, isLocal, newRule, override, withdraw } from '../actions.js';
import { eventRow } from './events.js';

/** A packet that the rule matches, as words for the packet form, where that is easy to tell. */
export function examplePacket(rule) {
  const [match] = parts(rule.text);
  const value = (name) => match.match(new RegExp(`(?:^| )${name} ([^ ]+)`))?.[1]?.split(/[,&-]/)[0];
  const address = (text) => text?.replace(/\/.*/, '').replace(/\/.*/, '');
  return {
    proto: ['udp', 'tcp', 'icmp'].includes(value('proto')) ? value('proto') : '',
    from: address(value('src')) ?? '', to: address(value('dst')) ?? '',
    sport: /^\d+$/.test(value('sport') ?? '') ? value('sport') : '', dport: /^\d+$/.test(value('dport') ?? '') ? value('dport') : '',
  };
}

function originRow(origin, only) {
  const marks = [origin.best && !only ? 'its actions are used' : null, origin.stale ? 'session lost' : null, origin.long_lived ? 'long-lived stale' : null, origin.expires && !only ? `until ${time(origin.expires)}` : null].filter(Boolean);
  return h('li', null, origin.peer, marks.map((mark) => h('span', { class: 'badge plain' }, mark)), origin.reason ? h('span', { class: 'quiet' }, ` ${origin.reason}`) : null);
}

function actions(rule) {
  const button = (name, action, kind = '') => h('button', { type: 'button', class: kind, 'data-action': name.toLowerCase().split(' ')[0], onclick: () => action(rule) }, name);
  return h('div', { class: 'buttons' }, isLocal(rule)
    ? [button('Extend', extend), button('Withdraw', withdraw, 'danger')]
    : [button('Override for an hour', override), button('Copy as a new rule', () => newRule(rule.text))]);
}

function facts(rule) {
  const { peak } = rule;
  return terms([
    ['Id', rule.id],
    ['Family', rule.family],
    ['Since', rule.since ? time(rule.since) : null],
    ['Expires', rule.expires ? h('span', null, time(rule.expires), ` (in ${duration(until(rule.expires))})`) : 'never'],
    ['Entries in the data plane', whole(rule.entries)],
    ['Matched', rule.packets === null ? 'not counted' : `${whole(rule.packets)} packets, ${octets(rule.bytes)}`],
    ['Dropped', rule.dropped === null ? null : `${whole(rule.dropped)} packets${rule.dropped_bytes === undefined ? '' : `, ${octets(rule.dropped_bytes)}`}`],
    ['Passed by its policer', rule.passed === undefined ? null : `${short(rule.passed)} packets`],
    ['Now', rule.rate ? `${packets(rule.rate.packets_per_second)}, ${bits(rule.rate.bits_per_second)}` : '–'],
    ['Peak', peak ? `${packets(peak.packets_per_second)} at ${time(peak.packets_time)}, ${bits(peak.bits_per_second)}` : null],
    ['Last hit', rule.last_hit ? time(rule.last_hit) : 'none since the start'],
  ]);
}

export function rule(root, { id }) {
  const title = h('h1', { class: 'rule-text' }, id);
  const state = h('div', { class: 'rule-state' });
  const buttons = h('div');
  const packetCurve = h('div');
  const bitCurve = h('div');
  const known = h('div');
  const origins = h('ul', { class: 'plain-list' });
  const timeline = h('div');
  const explain = h('p');
  fill(root, h('p', null, h('a', { href: '#/rules' }, 'All rules')), title, state, buttons,
    h('div', { class: 'columns' },
      h('section', { class: 'card', 'aria-label': 'Curves' }, h('h2', null, 'Packets'), packetCurve, h('h2', null, 'Bits'), bitCurve),
      h('section', { class: 'card' }, h('h2', null, 'Facts'), known)),
    h('div', { class: 'columns' },
      h('section', { class: 'card' }, h('h2', null, 'Announced by'), origins, explain),
      h('section', { class: 'card' }, h('h2', null, 'Events'), timeline)));
  let drawn = '';
  const read = async () => {
    let found;
    try {
      found = await get(`/v1/rules/${encodeURIComponent(id)}`);
    } catch (error) {
      if (error instanceof ApiError && (error.status === 404 || error.status === 400)) {
        fill(state, h('p', { class: 'banner warn' }, 'There is no rule with this id now. It was withdrawn, or has expired.'));
        fill(buttons);
        drawn = '';
      }
      throw error;
    }
    record(found.id, found.rate);
    fill(title, found.text);
    const [, does] = parts(found.text);
    fill(state, badge(found.state), does ? h('span', null, ` ${does}`) : null,
      found.reason ? h('p', { class: `banner ${kindOfState(found.state)}` }, found.reason) : null,
      (found.limits ?? []).map((limit) => h('p', { class: 'banner warn' }, limit)),
      (found.notes ?? []).map((note) => h('p', { class: 'quiet' }, note)));
    // Buttons stay while somebody is about to press them.
    if (drawn !== JSON.stringify([found.text, found.expires, found.origins])) {
      drawn = JSON.stringify([found.text, found.expires, found.origins]);
      fill(buttons, actions(found));
      fill(origins, found.origins.map((origin) => originRow(origin, found.origins.length === 1)));
      fill(explain, h('a', { href: `#/packet${query(examplePacket(found))}` }, 'Explain a packet of this rule'), ' · ', h('a', { href: `#/history?since=&rule=${found.id}` }, 'Its history'));
    }
    fill(packetCurve, chart(curve(found.id), 1, 'Packets a second'));
    fill(bitCurve, chart(curve(found.id), 2, 'Bits a second'));
    fill(known, facts(found));
    const events = (await get('/v1/history?count=1000')).filter((event) => event.id === found.id).slice(-20).reverse();
    fill(timeline, events.length
      ? h('ol', { class: 'events' }, events.map((event) => eventRow(event, true)))
      : h('p', { class: 'quiet' }, `None of the latest ${counted(1000, 'event')} concerns it.`));
  };
  return { title: id, read };
}
