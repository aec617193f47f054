/* What is drawn of a series: a running mean, a path of few points, labels that do not collide. */

/** @typedef {[number, number]} Point  x and y */

/**
 * The running mean of a series: a value counts for as much of x as lies before it, and fades by e
 * with every `span` of x that follows. So it does not matter how closely the points lie.
 * @param {Point[]} points
 * @param {number} span
 * @returns {Point[]}
 */
export function runningMean(points, span) {
  let [sum, weight, before] = [0, 0, 0];
  return points.map(([x, y]) => {
    const keep = Math.exp(-Math.max(x - before, 1e-9) / span);
    before = x;
    sum *= keep;
    weight *= keep;
    if (Number.isFinite(y)) {
      sum += y * (1 - keep);
      weight += 1 - keep;
    }
    return [x, sum / weight];
  });
}

/**
 * At most four points a pixel column: the first, the least, the largest and the last in it, so that
 * no peak is lost.
 * @param {Point[]} points  in pixels, ascending in x
 * @returns {Point[]}
 */
export function thinned(points) {
  if (points.length < 600) return points;
  const kept = [];
  for (let start = 0; start < points.length;) {
    const column = Math.floor(points[start][0]);
    let [least, largest, end] = [start, start, start];
    for (; end < points.length && Math.floor(points[end][0]) === column; end += 1) {
      if (points[end][1] < points[least][1]) least = end;
      if (points[end][1] > points[largest][1]) largest = end;
    }
    const chosen = new Set([start, Math.min(least, largest), Math.max(least, largest), end - 1]);
    for (const index of chosen) kept.push(points[index]);
    start = end;
  }
  return kept;
}

/**
 * The path of a line through points; it is broken where a value is none.
 * @param {Point[]} points  in pixels
 * @returns {string}  for an SVG path's `d`
 */
export function pathThrough(points) {
  let path = "";
  let pen = "M";
  for (const [x, y] of points) {
    if (!Number.isFinite(y)) {
      pen = "M";
      continue;
    }
    path += `${pen}${x.toFixed(1)},${y.toFixed(1)}`;
    pen = "L";
  }
  return path;
}

/**
 * Move labels apart: each is at least `gap` from the next, as near as may be to where it belongs.
 * @param {number[]} wanted  where each label belongs
 * @param {number} gap
 * @param {[number, number]} room  the least and the largest place
 * @returns {number[]}  where each goes
 */
export function spread(wanted, gap, [least, largest]) {
  const order = wanted.map((_, index) => index).sort((a, b) => wanted[a] - wanted[b]);
  const placed = [...wanted];
  let floor = least;
  for (const index of order) {
    placed[index] = Math.max(wanted[index], floor);
    floor = placed[index] + gap;
  }
  let ceiling = largest;
  for (const index of order.reverse()) {
    placed[index] = Math.min(placed[index], ceiling);
    ceiling = placed[index] - gap;
  }
  return placed;
}

/**
 * The place in `points` of the one nearest to `x`; -1 where there is none.
 * @param {Point[]} points  ascending in x
 * @param {number} x
 * @returns {number}
 */
export function nearest(points, x) {
  if (!points.length) return -1;
  let [low, high] = [0, points.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < x) low = middle + 1;
    else high = middle;
  }
  return low > 0 && x - points[low - 1][0] <= points[low][0] - x ? low - 1 : low;
}
