/* Curves: running mean, downsampling, paths, label placement. */

/** @typedef {[number, number]} Point  x and y */

/**
 * Return the running mean of a series. A value is weighted by the distance to the previous x and
 * decays by e per `span` of x, so the result is independent of the spacing of the points.
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
 * Downsample to at most four points per pixel column (first, minimum, maximum, last), which keeps
 * every peak.
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
 * Return the path of a line through points, with gaps at NaN.
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
 * Move overlapping labels apart to a distance of at least `gap`, as little as possible.
 * @param {number[]} wanted  preferred positions
 * @param {number} gap
 * @param {[number, number]} room  minimum and maximum position
 * @returns {number[]}  positions
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
 * Return the index of the point nearest to `x`; -1 if there are no points.
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
