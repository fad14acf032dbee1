// Curves as SVG.

import { h, svg } from './dom.js';
import { bits, packets, time } from './format.js';

/** Points of a line in a box of this size, and the highest value. */
function line(values, width, height) {
  const top = Math.max(...values.map((value) => value ?? 0), 0);
  const step = values.length > 1 ? width / (values.length - 1) : width;
  const place = (value) => height - 1 - (top > 0 ? ((value ?? 0) / top) * (height - 2) : 0);
  return { top, points: values.map((value, at) => `${(at * step).toFixed(1)},${place(value).toFixed(1)}`).join(' ') };
}

/** A small curve of the latest rates, without words: the number stands beside it. */
export function sparkline(points, field = 1, count = 40) {
  const values = points.slice(-count).map((point) => point[field] ?? 0);
  while (values.length < 2) values.unshift(values[0] ?? 0);
  const shape = line(values, 80, 20);
  const drawn = svg('svg', { class: 'spark', viewBox: '0 0 80 20', preserveAspectRatio: 'none', 'aria-hidden': 'true', focusable: 'false' });
  if (shape.top > 0) drawn.append(svg('polygon', { class: 'area', points: `0,20 ${shape.points} 80,20` }));
  drawn.append(svg('polyline', { points: shape.points, 'vector-effect': 'non-scaling-stroke' }));
  return drawn;
}

/** A curve with its highest value and its times. */
export function chart(points, field, name) {
  const show = field === 2 ? bits : packets;
  const values = points.map((point) => point[field] ?? 0);
  if (values.length < 2) return h('p', { class: 'quiet' }, 'The curve begins now; the next reading comes in two seconds.');
  const shape = line(values, 600, 160);
  const now = values[values.length - 1];
  const words = `${name}: now ${show(now)}, at most ${show(shape.top)} since ${time(points[0][0])}`;
  return h('figure', { class: 'chart' },
    svg('svg', { viewBox: '0 0 600 160', preserveAspectRatio: 'none', role: 'img', 'aria-label': words },
      svg('line', { class: 'grid', x1: 0, x2: 600, y1: 1, y2: 1 }),
      svg('line', { class: 'grid', x1: 0, x2: 600, y1: 80, y2: 80 }),
      svg('line', { class: 'grid', x1: 0, x2: 600, y1: 159, y2: 159 }),
      svg('polygon', { class: 'area', points: `0,160 ${shape.points} 600,160` }),
      svg('polyline', { points: shape.points, 'vector-effect': 'non-scaling-stroke' })),
    h('figcaption', null,
      h('span', null, `${name}, at most ${show(shape.top)}`),
      h('span', null, `${time(points[0][0])} – ${time(points[points.length - 1][0])}`)));
}

/** How full a table is. */
export function gauge(used, all, what) {
  const share = all > 0 ? used / all : 0;
  const kind = share >= 0.95 ? 'bad' : share >= 0.8 ? 'warn' : 'good';
  const words = `${used.toLocaleString('en')} of ${all.toLocaleString('en')} ${what}, ${Math.round(share * 100)} %`;
  const bar = svg('svg', { class: `gauge ${kind}`, viewBox: '0 0 100 8', preserveAspectRatio: 'none', role: 'img', 'aria-label': words });
  bar.append(svg('rect', { class: 'rest', x: 0, y: 0, width: 100, height: 8 }));
  bar.append(svg('rect', { class: 'used', x: 0, y: 0, width: Math.min(100, share * 100).toFixed(1), height: 8 }));
  return h('div', { class: 'gauge-box' }, bar, h('p', null, words));
}
