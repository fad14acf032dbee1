// What is always in sight: whether packets are filtered, what is wrong, and how old all this is.

import { fill, h, setText } from './dom.js';
import { until } from './api.js';
import { UNENFORCED, countdown, duration, packets, short, time, whole } from './format.js';
import { curve } from './live.js';
import { sparkline } from './chart.js';
import { pause, resume } from './actions.js';

/** After so many seconds without an answer, what is shown is called old. */
const OLD = 7;

/** The state in one word, a sentence, and how bad it is. */
export function judge({ status, at, error }) {
  const age = (Date.now() - at) / 1000;
  if (!status) return error ? ['NO ANSWER', `No answer yet: ${error}.`, 'bad'] : ['…', 'Asking the daemon.', 'plain'];
  if (error && age > OLD) {
    return ['NO ANSWER', `The daemon has not answered since ${time(new Date(at))}: ${error}. What is shown is from then. Filters in the kernel or switch may still be in force.`, 'bad'];
  }
  if (status.unfiltered) return ['NOT FILTERING', `Nothing is filtered: ${status.unfiltered}.`, 'bad'];
  if (status.paused) {
    const left = status.paused_until ? until(status.paused_until) : null;
    return ['PAUSED', left === null ? 'Nothing is filtered until somebody resumes.' : `Nothing is filtered for another ${duration(left)}.`, 'warn'];
  }
  if (status.mode === 'monitor') return ['MONITOR', 'Rules count packets and do nothing to them.', 'warn'];
  if (status.dataplane === 'failed') return ['FAILING', `Not all rules are enforced: ${status.dataplane_error ?? 'the data plane did not apply the latest change'}.`, 'bad'];
  if (status.backend === 'none') return ['NO DATA PLANE', 'Rules are decided on and shown; nothing is installed.', 'warn'];
  return ['FILTERING', status.dataplane === 'applying' ? 'A change is being applied.' : 'All changes are in force.', 'good'];
}

export const unenforced = (status) => UNENFORCED.reduce((sum, state) => sum + (status.rules[state] ?? 0), 0);

/** Interfaces that are configured and not filtered. */
export const unfiltered = (status) => status.attachments.filter((attachment) => attachment.mode === 'none');

let tiles = null;

function tile(id, label, href) {
  const value = h('span', { class: 'value' });
  const note = h('span', { class: 'note' });
  const box = h(href ? 'a' : 'div', { class: 'tile', id: `tile-${id}`, href }, h('span', { class: 'label' }, label), value, note);
  return { box, value, note, set(text, more = '', kind = '') {
    setText(value, text);
    setText(note, more);
    box.dataset.kind = kind;
  } };
}

function build() {
  const state = tile('state', 'State', '#/');
  const button = h('button', { type: 'button', class: 'small', id: 'pause' });
  const drops = tile('drops', 'Dropped', '#/');
  const spark = h('span', { class: 'tile-spark' });
  drops.box.append(spark);
  tiles = {
    state, button, drops, spark,
    matched: tile('matched', 'Matched', '#/'),
    rules: tile('rules', 'Rules', '#/rules'),
    refused: tile('unenforced', 'Not in force', `#/rules?state=${UNENFORCED.join(',')}`),
    peers: tile('peers', 'Peers', '#/peers'),
    interfaces: tile('interfaces', 'Interfaces', '#/'),
    plane: tile('dataplane', 'Data plane', '#/'),
    age: tile('age', 'Data', '#/'),
  };
  button.addEventListener('click', () => (button.dataset.does === 'resume' ? resume() : pause()));
  fill(document.getElementById('strip'),
    h('div', { class: 'tile-group' }, tiles.state.box, button),
    tiles.drops.box, tiles.matched.box, tiles.rules.box, tiles.refused.box, tiles.peers.box, tiles.interfaces.box,
    tiles.plane.box, tiles.age.box);
}

/** Shows it; returns the words for those who hear the page. */
export function drawStrip(live) {
  if (!tiles) build();
  const { status, at, error } = live;
  const [word, sentence, kind] = judge(live);
  const stale = word === 'NO ANSWER';
  document.body.dataset.stale = String(stale && status !== null);
  const left = status?.paused && status.paused_until && !stale ? countdown(until(status.paused_until)) : '';
  tiles.state.set(word, left ? `${left} left` : '', kind);
  tiles.state.box.setAttribute('title', sentence);
  tiles.button.dataset.does = status?.paused ? 'resume' : 'pause';
  setText(tiles.button, status?.paused ? 'Resume' : 'Pause');
  tiles.button.disabled = !status || stale;
  const banner = document.getElementById('banner');
  const shown = kind === 'good' || kind === 'plain' ? '' : sentence;
  if (banner.textContent !== shown) fill(banner, shown && h('p', { class: `banner ${kind}` }, shown));
  banner.firstElementChild?.setAttribute('class', `banner ${kind}`);
  if (status) values(status, live.day);
  const age = (Date.now() - at) / 1000;
  if (at) tiles.age.set(age < 3 ? 'live' : `${duration(age)} old`, status.counters_age === null ? '' : `counters ${status.counters_age.toFixed(1)} s`, stale ? 'bad' : error ? 'warn' : '');
  return `${word}. ${sentence.replace(/for another.*/, 'for a time.')}`;
}

function values(status, day) {
  const { rate, dropped, packets: matched } = status.traffic;
  const perSecond = rate?.dropped_per_second;
  tiles.drops.set(packets(rate ? perSecond : 0), day === null ? `${short(dropped)} in all` : `${short(day)} in 24 h`, perSecond > 0 ? 'busy' : '');
  fill(tiles.spark, sparkline(curve('all'), 3));
  tiles.matched.set(packets(rate ? rate.packets_per_second : 0), `${short(matched)} in all`);
  const count = Object.values(status.rules).reduce((sum, some) => sum + some, 0) + status.rules_uncounted;
  tiles.rules.set(whole(count), status.rules_age > 5 ? `counted ${duration(status.rules_age)} ago` : `${whole((status.rules.installed ?? 0) + (status.rules.stale ?? 0))} in force`);
  const not = unenforced(status);
  tiles.refused.set(whole(not), not ? UNENFORCED.filter((state) => status.rules[state]).map((state) => `${status.rules[state]} ${state}`).join(', ') : 'all as announced', not ? 'bad' : '');
  tiles.peers.set(`${status.established} of ${status.peers}`, 'established', status.established < status.peers ? 'warn' : '');
  const missing = unfiltered(status);
  const some = status.interfaces === null ? 'all' : whole(status.interfaces.length);
  tiles.interfaces.set(missing.length ? `${missing.length} not filtered` : some, missing.length ? missing.map(({ interface: name }) => name).join(', ') : 'filtered', missing.length || status.unfiltered ? 'bad' : '');
  const plane = status.dataplane === 'failed' ? 'bad' : status.fallback ? 'warn' : '';
  tiles.plane.set(status.backend, status.dataplane === 'failed' ? 'error' : status.fallback ? `instead of ${status.fallback.configured}` : status.dataplane, plane);
}
