// What a queue's figures were over the last minutes, and rates out of its counters. Pure.

export const STATES = ["ready", "delayed", "leased", "dead"];
const COUNTERS = ["pushed", "pulled", "acked"];
const KEPT = [...STATES, ...COUNTERS, "oldest_age_seconds"];

/** Figures at some moments, the latest last. */
export class Series {
  /** @param {number} seconds for how long figures are kept */
  constructor(seconds = 600, fields = KEPT, counters = COUNTERS) {
    this.seconds = seconds;
    this.fields = fields;
    this.counters = counters;
    this.clear();
  }

  clear() {
    this.at = [];
    this.values = Object.fromEntries(this.fields.map((name) => [name, []]));
    this.mark = undefined;
  }

  /**
   * Add figures. What was there is forgotten if it is of another thing of the same name: its
   * mark is another, or a counter has fallen.
   */
  add(at, figures, mark = undefined) {
    const fell = this.counters.some((name) => figures[name] < this.last(name));
    if (this.at.length && (fell || mark !== this.mark)) this.clear();
    this.mark = mark;
    this.at.push(at);
    for (const name of this.fields) this.values[name].push(figures[name] ?? 0);
    let old = 0;
    while (this.at[old] < at - this.seconds) old += 1;
    if (old) {
      this.at.splice(0, old);
      for (const name of this.fields) this.values[name].splice(0, old);
    }
  }

  get length() {
    return this.at.length;
  }

  last(name) {
    return this.values[name].at(-1);
  }

  /** What a counter grew by a second over the last so many seconds; null where nobody knows. */
  rate(name, seconds = 10) {
    const end = this.at.length - 1;
    if (end < 1) return null;
    let start = end - 1;
    while (start > 0 && this.at[end] - this.at[start - 1] <= seconds) start -= 1;
    return this.growth(name, start, end);
  }

  /** The same at each moment, smoothed a little, for a plot: null at the first. */
  rates(name, seconds = 6) {
    let start = 0;
    return this.at.map((at, index) => {
      if (index === 0) return null;
      while (start < index - 1 && at - this.at[start] > seconds) start += 1;
      return this.growth(name, start, index);
    });
  }

  growth(name, start, end) {
    const passed = this.at[end] - this.at[start];
    const column = this.values[name];
    return passed > 0 ? Math.max(0, column[end] - column[start]) / passed : null;
  }

  /** The mean of a quantity over what has happened lately, out of a mean and count of all. */
  recentMean(mean, number) {
    const end = this.at.length - 1;
    const start = Math.max(0, end - 5);
    const means = this.values[mean];
    const counts = this.values[number];
    const grown = counts[end] - counts[start];
    if (!(grown > 0)) return null;
    return Math.max(0, (means[end] * counts[end] - means[start] * counts[start]) / grown);
  }

  /** Sums of fields at each moment. */
  sums(names) {
    return this.at.map((_, index) => names.reduce((sum, name) => sum + this.values[name][index], 0));
  }
}

/** No more values than so many: the largest of each few that stand together. */
export function thinned(values, most) {
  if (values.length <= most) return values;
  const step = values.length / most;
  return Array.from({ length: most }, (_, place) => Math.max(...values.slice(Math.floor(place * step), Math.floor((place + 1) * step))));
}

/** Where a line runs, as points of an SVG polyline in a box, which is as high as `least` at the least. */
export function polyline(values, width, height, least = 1) {
  if (values.length < 2) return "";
  const top = Math.max(least, ...values);
  const step = width / (values.length - 1);
  return values
    .map((value, index) => `${(index * step).toFixed(1)},${(height - (value / top) * height).toFixed(1)}`)
    .join(" ");
}
