/* The graph: folding, zoom, highlighting and node cards. */

const canvas = document.getElementById("canvas");
const card = document.getElementById("card");
const depths = new Map(); // by index in data.depths: a fold's SVG and its elements' nodes
const TOUCH = 4; // pixels by which the card overlaps its node, so that a pointer can move onto it
const EDGE = 4; // pixels between the card and the edge of the box
let depth = data.depth;
let zoom = 1;
let lit = 0; // the highlighted step

// --- folding -------------------------------------------------------------------------------------

/** Return the id of the element that shows a node in a fold. */
function placeOf(node, index) {
  return data.depths[index].places[node] ?? node;
}

/** Widen the lines for the pointer. */
function withHits(svg) {
  svg.querySelectorAll(".edge").forEach((drawn) => {
    const line = drawn.querySelector("path");
    if (line === null) return;
    const hit = line.cloneNode();
    for (const name of ["stroke", "stroke-dasharray", "style"]) hit.removeAttribute(name);
    hit.setAttribute("class", "hit");
    drawn.append(hit);
  });
}

/** Return the index of the drawing in which one more module is open, or else the next depth. */
function opening(id) {
  const { base, opened } = data.depths[depth];
  const same = (fold, at, chain) => fold.base === at && fold.opened.join() === chain.join();
  const inner = data.depths.findIndex((fold) => same(fold, base, [...opened, id]));
  if (base !== null && inner >= 0) return inner;
  const own = data.depths.findIndex((fold) => same(fold, base ?? depth, [id]));
  if (own >= 0) return own;
  const next = (base ?? depth) + 1;
  return next < levels().length ? next : null;
}

/** Return the index of the drawing in which an open module is closed; null if it stays open. */
function closing(id) {
  const { base, opened } = data.depths[depth];
  const at = opened.indexOf(id);
  if (at < 0) return null;
  if (at === 0) return base;
  const rest = opened.slice(0, at).join();
  const index = data.depths.findIndex((fold) => fold.base === base && fold.opened.join() === rest);
  return index < 0 ? base : index;
}

function levels() {
  return data.depths.filter((fold) => fold.base === null);
}

/** Return the drawing of a fold: its SVG, and the nodes of each element. */
function drawingOf(index) {
  if (!depths.has(index)) {
    const template = document.querySelector(`template[data-depth="${index}"]`);
    const svg =
      template === null ? canvas.querySelector("svg") : template.content.querySelector("svg");
    const members = new Map();
    for (const { id: node } of data.nodes) {
      const id = placeOf(node, index);
      if (!members.has(id)) members.set(id, []);
      members.get(id).push(nodes.get(node));
    }
    for (const [copy, node] of Object.entries(data.depths[index].copies)) {
      members.set(copy, [nodes.get(node)]);
    }
    withHits(svg);
    depths.set(index, { svg, members });
    prepare(svg, members);
  }
  return depths.get(index);
}

/** Make the nodes of a drawing reachable by keyboard, with labels. */
function prepare(svg, members) {
  svg.setAttribute("role", "group");
  svg.removeAttribute("aria-label");
  svg.querySelectorAll("title").forEach((title) => title.remove()); // the card says more
  svg
    .querySelectorAll(".edge, .cluster")
    .forEach((drawn) => drawn.setAttribute("aria-hidden", true));
  for (const [id, inside] of members) {
    const drawn = svg.querySelector(`#${CSS.escape(id)}`);
    drawn.setAttribute("tabindex", "-1");
    drawn.setAttribute("role", "button");
    drawn.setAttribute("aria-label", labelOf(inside, id));
  }
}

function nameOf(inside, id) {
  const node = inside.at(-1);
  return inside.length > 1 ? `${data.scopes[id] ?? node.scope}, ${inside.length} nodes folded` : called(node);
}

function labelOf(inside, id) {
  const { shape } = inside.at(-1);
  return shape === null ? nameOf(inside, id) : `${nameOf(inside, id)}, ${sizes(shape)}`;
}

function fold(index) {
  depth = index;
  hideCard();
  canvas.replaceChildren(drawingOf(index).svg);
  showDepth();
  fit();
  light(lit, false);
  search();
}

function showDepth() {
  document.querySelectorAll("#depths button").forEach((button, index) => {
    button.setAttribute("aria-pressed", index === (data.depths[depth].base ?? depth));
  });
}

// --- size ----------------------------------------------------------------------------------------

function resize(factor) {
  const { svg } = drawingOf(depth);
  zoom = Math.max(0.1, Math.min(4, factor));
  svg.setAttribute("width", svg.viewBox.baseVal.width * zoom);
  svg.setAttribute("height", svg.viewBox.baseVal.height * zoom);
}

/** Fit the width, as long as the text stays readable. */
function fit() {
  const { svg } = drawingOf(depth);
  resize(Math.max(1, Math.min(1.3, (canvas.clientWidth - 24) / svg.viewBox.baseVal.width)));
}

// --- highlighting --------------------------------------------------------------------------------

/** Highlight the node of a step, the steps before it, and the edges it uses. */
function light(index, smoothly) {
  lit = index;
  const step = data.steps[index];
  const { svg } = drawingOf(depth);
  const lines = new Set(data.depths[depth].edges);
  svg.querySelectorAll(".done, .current, .flowing, [aria-current]").forEach((drawn) => {
    drawn.classList.remove("done", "current", "flowing");
    drawn.removeAttribute("aria-current");
  });
  for (const node of reachedBy(index)) mark(svg, placeOf(node, depth), "done");
  if (step.phase === "result") {
    for (const node of data.nodes) {
      if (node.kind !== "op" && node.gradient !== null) mark(svg, placeOf(node.id, depth), "current");
    }
    return;
  }
  const node = nodes.get(step.node);
  const drawn = mark(svg, placeOf(node.id, depth), "current");
  drawn?.setAttribute("aria-current", "step");
  for (const id of node.inputs) {
    if (step.phase === "forward" || edges.get(id).gradient !== null)
      mark(svg, lines.has(id) ? id : null, "flowing");
  }
  if (drawn) follow(drawn, smoothly);
}

/** Return the nodes whose value (forward) or gradient (backward) is known before a step. */
function reachedBy(index) {
  const { phase } = data.steps[index];
  const reached = new Set();
  for (const step of data.steps.slice(0, index + 1)) {
    if (phase === "forward" || step.phase === "backward") {
      const node = nodes.get(step.node);
      reached.add(node.id);
      for (const id of node.inputs) {
        const edge = edges.get(id);
        if (phase === "forward" || edge.gradient !== null) reached.add(edge.source);
      }
    }
  }
  return reached;
}

function mark(svg, id, name) {
  const drawn = id ? svg.querySelector(`#${CSS.escape(id)}`) : null;
  drawn?.classList.add(name);
  return drawn;
}

/** Scroll a node to the middle of the viewport of the graph. */
function follow(drawn, smoothly) {
  const box = canvas.getBoundingClientRect();
  const own = drawn.getBoundingClientRect();
  canvas.scrollTo({
    left: canvas.scrollLeft + own.left + own.width / 2 - box.left - box.width / 2,
    top: canvas.scrollTop + own.top + own.height / 2 - box.top - box.height / 2,
    behavior: smoothly ? "smooth" : "instant",
  });
  canvas
    .querySelectorAll('[tabindex="0"]')
    .forEach((other) => other.setAttribute("tabindex", "-1"));
  drawn.setAttribute("tabindex", "0"); // the only Tab stop is the node of the step
}

// --- node cards ----------------------------------------------------------------------------------

function drawnAt(target) {
  return target.closest?.("#canvas [tabindex]") ?? null;
}

function membersOf(drawn) {
  return drawingOf(depth).members.get(drawn.id);
}

/** Show the card of a node, beside it. */
function showCard(drawn) {
  const node = membersOf(drawn).at(-1);
  const name = element("p", { class: "name" }, nameOf(membersOf(drawn), drawn.id));
  const small = { height: 90, width: 255 };
  card.replaceChildren(name);
  if (node.formula) card.append(formula(`y = ${node.formula}`, node.equation));
  card.append(figure("value", node.value, small));
  if (node.gradient !== null) card.append(figure("gradient", node.gradient, small));
  card.hidden = false;
  drawn.setAttribute("aria-describedby", "card");
  place(drawn.getBoundingClientRect());
}

function edgeAt(target) {
  const drawn = target.closest?.("#canvas .edge");
  return drawn ? edges.get(drawn.id.replace("-gradient", "")) : undefined;
}

/** Show the card of an edge at the pointer: the gradient that it passes back. */
function showEdge(edge, { clientX: x, clientY: y }) {
  const way = `${called(nodes.get(edge.target))} to ${called(nodes.get(edge.source))}`;
  card.replaceChildren(element("p", { class: "name" }, `${way}, for ${edge.argument}`));
  if (edge.gradient === null) {
    card.append(element("p", { class: "note" }, "No gradient is passed back here."));
  } else {
    const small = { height: 120, width: 255, words: "passed back" };
    if (edge.formula) card.append(formula(`∂E/∂${edge.argument} = ${edge.formula}`, edge.equation));
    card.append(figure(`∂E/∂${edge.argument}`, edge.gradient, small));
  }
  card.hidden = false;
  place({ left: x, right: x, top: y, bottom: y });
}

/** Place the card beside a node, or else above or below it: touching, never covering it. */
function place(own) {
  const around = document.getElementById("graph").getBoundingClientRect();
  const [left, right] = [own.left - around.left + TOUCH, own.right - around.left - TOUCH];
  const [above, below] = [own.top - around.top + TOUCH, own.bottom - around.top - TOUCH];
  const room = {
    above: above - EDGE,
    below: around.height - below - EDGE,
    whole: around.height - 2 * EDGE,
  };
  const beside = right + card.offsetWidth + EDGE <= around.width || left - card.offsetWidth >= EDGE;
  const under = room.below >= room.above;
  const most = beside ? room.whole : under ? room.below : room.above;
  card.style.setProperty("max-height", `${most}px`);
  const { offsetWidth: width, offsetHeight: height } = card;
  const within = (x, size, all) => Math.max(EDGE, Math.min(x, all - size - EDGE));
  let [x, y] = [within(left, width, around.width), under ? below : above - height];
  if (beside) {
    x = right + width + EDGE <= around.width ? right : left - width;
    y = within(above, height, around.height);
  }
  card.style.setProperty("left", `${x}px`);
  card.style.setProperty("top", `${y}px`);
}

function hideCard() {
  card.hidden = true;
  canvas
    .querySelectorAll("[aria-describedby=card]")
    .forEach((drawn) => drawn.removeAttribute("aria-describedby"));
}

/** Go to the step of a node in the current half; unfold the node first if it is folded. */
function choose(drawn) {
  const inside = membersOf(drawn);
  const wanted = drawn.id in data.scopes ? opening(drawn.id) : null;
  if (wanted !== null) {
    fold(wanted);
    reach(placeOf(inside.at(-1).id, depth));
    return;
  }
  const { phase } = data.steps[lit];
  const half = phase === "forward" ? "forward" : "backward";
  const index = data.steps.findIndex(
    (step) => step.phase === half && step.node === inside.at(-1).id,
  );
  if (index >= 0) jump(index);
}

/** Close an open module. */
function close(id) {
  const wanted = closing(id);
  if (wanted === null) return;
  fold(wanted);
  if (drawingOf(depth).members.has(id)) reach(id);
}

// --- search --------------------------------------------------------------------------------------

const searched = document.getElementById("search");

/** Mark the nodes whose name, op or module contains the text; return their elements' ids. */
function search() {
  const { svg } = drawingOf(depth);
  const text = searched.value.trim().toLowerCase();
  svg.querySelectorAll(".found").forEach((drawn) => drawn.classList.remove("found"));
  const matches = data.nodes.filter((node) =>
    text && [called(node), node.op, node.scope].some((name) => name.toLowerCase().includes(text)),
  );
  const found = [...new Set(matches.map((node) => placeOf(node.id, depth)))];
  for (const id of found) mark(svg, id, "found");
  document.getElementById("found").textContent = text ? `${matches.length} found` : "";
  return found;
}

let next = 0; // the match that Enter goes to
searched.addEventListener("input", () => {
  next = 0;
  search();
});
searched.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  const found = search();
  if (!found.length) return;
  next %= found.length;
  follow(canvas.querySelector(`#${CSS.escape(found[next])}`), false);
  next += 1;
});

/** Move the focus to the next or previous node, in the order of the computation. */
function walk(drawn, by) {
  const all = [...drawingOf(depth).members.keys()];
  const next = all[all.indexOf(drawn.id) + by];
  if (next !== undefined) reach(next);
}

function reach(id) {
  const drawn = canvas.querySelector(`#${CSS.escape(id)}`);
  follow(drawn, false);
  drawn.focus();
}

canvas.addEventListener("pointerover", (event) => {
  const drawn = drawnAt(event.target);
  const edge = edgeAt(event.target);
  if (event.pointerType === "touch") return;
  if (drawn) showCard(drawn);
  else if (edge) showEdge(edge, event);
});
canvas.addEventListener("pointerout", (event) => {
  if (!card.contains(event.relatedTarget) && !drawnAt(event.target)?.contains(event.relatedTarget))
    hideCard();
});
card.addEventListener("pointerleave", hideCard);
canvas.addEventListener("focusin", (event) => {
  const drawn = drawnAt(event.target);
  if (drawn?.matches(":focus-visible")) showCard(drawn);
});
canvas.addEventListener("focusout", hideCard);
canvas.addEventListener("click", (event) => {
  const drawn = drawnAt(event.target);
  const edge = edgeAt(event.target);
  const frame = event.target.closest?.("#canvas .cluster");
  if (drawn) choose(drawn);
  else if (edge) showEdge(edge, event);
  else if (frame) close(frame.id);
});
canvas.addEventListener("keydown", (event) => {
  const drawn = drawnAt(event.target);
  const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!drawn || (!move && event.key !== "Enter" && event.key !== " ")) return;
  event.preventDefault();
  if (move) walk(drawn, move);
  else choose(drawn);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hideCard();
  const { opened } = data.depths[depth];
  if (event.key === "Backspace" && opened.length && event.target !== searched) close(opened.at(-1));
});

// --- dragging and the tools ----------------------------------------------------------------------

let dragged = null;

function isActive(target) {
  const frame = target.closest?.("#canvas .cluster");
  return drawnAt(target) || edgeAt(target) || (frame && closing(frame.id) !== null);
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.pointerType === "mouse" && event.button === 0 && !isActive(event.target)) {
    dragged = { x: event.clientX + canvas.scrollLeft, y: event.clientY + canvas.scrollTop };
    canvas.setPointerCapture(event.pointerId);
  }
});
canvas.addEventListener("pointermove", (event) => {
  if (dragged) canvas.scrollTo(dragged.x - event.clientX, dragged.y - event.clientY);
});
canvas.addEventListener("pointerup", () => {
  dragged = null;
});

document.getElementById("smaller").addEventListener("click", () => resize(zoom / 1.25));
document.getElementById("larger").addEventListener("click", () => resize(zoom * 1.25));
document.getElementById("fitted").addEventListener("click", fit);

levels().forEach(({ label }, index) => {
  const button = element("button", { type: "button" }, label);
  button.addEventListener("click", () => fold(index));
  document.getElementById("depths").append(button);
});
showDepth();
document.getElementById("depths").hidden = levels().length < 2;
drawingOf(depth);
fit();
