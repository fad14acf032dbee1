// A long list of which only what is in sight exists: the daemon sorts and filters, and is asked for
// the rows that can be seen.

import { fill, h } from './dom.js';

const CHUNK = 100;
/** Rows beyond both ends of what is in sight. */
const MARGIN = 6;
/** Parts of the list that are kept; others are asked for again. */
const KEPT_CHUNKS = 12;

/**
 * `load(offset, limit)` gives `{ rules, offset, matching }`; `draw(row)` an array of cells; `columns`
 * their names; `key(row)` what stays the same when a row moves.
 */
export class VirtualList {
  constructor({ label, columns, load, draw, key, address, empty }) {
    Object.assign(this, { load, draw, key, address, empty });
    this.matching = 0;
    this.generation = 0;
    /** The row that shall have the focus when it has come. */
    this.wanted = null;
    this.chunks = new Map();
    this.pending = new Set();
    this.body = h('div', { class: 'rows', role: 'rowgroup' });
    this.head = h('div', { class: 'row head', role: 'row' }, columns.map(([name, style]) => h('span', { class: `cell ${style}`, role: 'columnheader' }, name)));
    this.nothing = h('p', { class: 'quiet nothing', hidden: true });
    this.element = h('div', { class: 'virtual', role: 'table', tabindex: 0, 'aria-label': label },
      h('div', { class: 'heading', role: 'rowgroup' }, this.head), this.body);
    this.box = h('div', null, this.element, this.nothing);
    this.element.addEventListener('scroll', () => this.show(), { passive: true });
    // Who clicks elsewhere does not want the focus back.
    this.element.addEventListener('pointerdown', () => (this.wanted = null));
    this.element.addEventListener('focusout', (event) => {
      if (event.relatedTarget && !this.element.contains(event.relatedTarget)) this.wanted = null;
    });
    this.element.addEventListener('keydown', (event) => this.key_pressed(event));
    this.resized = new ResizeObserver(() => this.show());
    this.resized.observe(this.element);
  }

  /** The height of a row, which the style decides. */
  get height() {
    return parseFloat(getComputedStyle(this.element).getPropertyValue('--row')) || 52;
  }

  /** Another list: begins at its top. */
  restart() {
    this.generation += 1;
    this.chunks.clear();
    this.pending.clear();
    this.element.scrollTop = 0;
    return this.refresh();
  }

  /** First and last row in sight. */
  range() {
    const [top, height] = [this.element.scrollTop, this.element.clientHeight];
    const first = Math.max(0, Math.floor(top / this.height) - MARGIN);
    return [first, Math.max(first, Math.ceil((top + height) / this.height) + MARGIN)];
  }

  /** Asks again for what is in sight. */
  async refresh() {
    const [first, last] = this.range();
    const from = Math.floor(first / CHUNK);
    const to = Math.floor(Math.min(last, Math.max(0, this.matching - 1)) / CHUNK);
    await Promise.all(Array.from({ length: Math.max(1, to - from + 1) }, (_, at) => this.fetch(from + at)));
  }

  async fetch(chunk) {
    if (this.pending.has(chunk)) return;
    this.pending.add(chunk);
    const generation = this.generation;
    try {
      const part = await this.load(chunk * CHUNK, CHUNK);
      if (generation !== this.generation) return;
      this.matching = part.matching;
      this.chunks.delete(chunk);
      this.chunks.set(chunk, part.rules);
      for (const old of this.chunks.keys()) {
        if (this.chunks.size <= KEPT_CHUNKS) break;
        this.chunks.delete(old);
      }
      this.draw_rows();
    } finally {
      if (generation === this.generation) this.pending.delete(chunk);
    }
  }

  row(index) {
    return this.chunks.get(Math.floor(index / CHUNK))?.[index % CHUNK];
  }

  /** Draws what is in sight, and asks for what is missing of it. */
  show() {
    this.draw_rows();
    const [first, last] = this.range();
    for (let chunk = Math.floor(first / CHUNK); chunk * CHUNK <= Math.min(last, this.matching - 1); chunk += 1) {
      if (!this.chunks.has(chunk)) this.fetch(chunk).catch(() => {});
    }
  }

  draw_rows() {
    const [first, last] = this.range();
    const focused = this.body.contains(document.activeElement) ? document.activeElement.closest('.row')?.dataset.index : null;
    this.body.style.height = `${this.matching * this.height}px`;
    this.element.setAttribute('aria-rowcount', String(this.matching + 1));
    const rows = [];
    for (let index = first; index <= Math.min(last, this.matching - 1); index += 1) {
      const row = this.row(index);
      const element = h('div', { class: 'row', role: 'row', 'aria-rowindex': index + 2, 'data-index': index, 'data-key': row ? this.key(row) : '' },
        row ? this.draw(row) : h('span', { class: 'cell quiet', role: 'cell' }, '…'));
      element.style.transform = `translateY(${index * this.height}px)`;
      if (row) {
        element.addEventListener('click', (event) => {
          if (!event.target.closest('a, button') && !String(getSelection())) location.hash = this.address(row);
        });
      }
      rows.push(element);
    }
    fill(this.body, rows);
    // The list may have become shorter meanwhile.
    const wanted = this.wanted === null ? focused : Math.min(this.wanted, this.matching - 1);
    const link = wanted === null || wanted === undefined ? null : this.body.querySelector(`[data-index="${wanted}"] a`);
    if (link) {
      link.focus({ preventScroll: true });
      this.wanted = null;
    }
    this.nothing.hidden = this.matching > 0;
    fill(this.nothing, this.empty());
  }

  key_pressed(event) {
    const here = this.wanted ?? document.activeElement.closest?.('.row[data-index]')?.dataset.index;
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.height) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step === undefined || this.matching === 0) return;
    event.preventDefault();
    const first = Math.ceil(this.element.scrollTop / this.height);
    const at = here !== undefined ? Number(here) + step : step > 0 && Number.isFinite(step) ? first : step;
    const wanted = Math.min(this.matching - 1, Math.max(0, at));
    const top = wanted * this.height;
    const view = this.element.clientHeight - this.head.offsetHeight - this.height;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (top > this.element.scrollTop + view) this.element.scrollTop = top - view;
    this.wanted = wanted;
    this.show();
  }

  leave() {
    this.resized.disconnect();
  }
}
