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

/** Return the drawing of a fold: its SVG, and the nodes of each element. */
function drawingOf(index) {
  if (!depths.has(index)) {
    const template = document.querySelector(`template[data-depth="${index}"]`);
    const svg =
      template === null ? canvas.querySelector("svg") : template.content.querySelector("svg");
    const members = new Map();
    for (const [node, id] of Object.entries(data.depths[index].places)) {
      if (!members.has(id)) members.set(id, []);
      members.get(id).push(nodes.get(node));
    }
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
    drawn.setAttribute("aria-label", labelOf(inside));
  }
}

function nameOf(inside) {
  const node = inside.at(-1);
  return inside.length > 1 ? `${node.scope}, ${inside.length} nodes folded` : called(node);
}

function labelOf(inside) {
  const { shape } = inside.at(-1);
  return shape === null ? nameOf(inside) : `${nameOf(inside)}, ${sizes(shape)}`;
}

function fold(index) {
  depth = index;
  hideCard();
  canvas.replaceChildren(drawingOf(index).svg);
  showDepth();
  fit();
  light(lit, false);
}

function showDepth() {
  document.querySelectorAll("#depths button").forEach((button, index) => {
    button.setAttribute("aria-pressed", index === depth);
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
  const { places, edges: lines } = data.depths[depth];
  svg.querySelectorAll(".done, .current, .flowing, [aria-current]").forEach((drawn) => {
    drawn.classList.remove("done", "current", "flowing");
    drawn.removeAttribute("aria-current");
  });
  for (const node of reachedBy(index)) mark(svg, places[node], "done");
  if (step.phase === "result") {
    for (const node of data.nodes) {
      if (node.kind !== "op" && node.gradient !== null) mark(svg, places[node.id], "current");
    }
    return;
  }
  const node = nodes.get(step.node);
  const drawn = mark(svg, places[node.id], "current");
  drawn?.setAttribute("aria-current", "step");
  for (const id of node.inputs) {
    if (step.phase === "forward" || edges.get(id).gradient !== null)
      mark(svg, lines[id], "flowing");
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
  const name = element("p", { class: "name" }, nameOf(membersOf(drawn)));
  const small = { height: 90, width: 255 };
  card.replaceChildren(name);
  if (node.formula) card.append(formula(`y = ${node.formula}`, node.equation));
  card.append(figure("value", node.value, small));
  if (node.gradient !== null) card.append(figure("gradient", node.gradient, small));
  card.hidden = false;
  drawn.setAttribute("aria-describedby", "card");
  place(drawn.getBoundingClientRect());
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
  if (inside.length > 1 && depth + 1 < data.depths.length) {
    fold(depth + 1);
    reach(data.depths[depth].places[inside.at(-1).id]);
    return;
  }
  const { phase } = data.steps[lit];
  const half = phase === "forward" ? "forward" : "backward";
  const index = data.steps.findIndex(
    (step) => step.phase === half && step.node === inside.at(-1).id,
  );
  if (index >= 0) jump(index);
}

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
  if (drawn && event.pointerType !== "touch") showCard(drawn);
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
  if (drawn) choose(drawn);
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
});

// --- dragging and the tools ----------------------------------------------------------------------

let dragged = null;
canvas.addEventListener("pointerdown", (event) => {
  if (event.pointerType === "mouse" && event.button === 0 && !drawnAt(event.target)) {
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

data.depths.forEach(({ label }, index) => {
  const button = element("button", { type: "button" }, label);
  button.addEventListener("click", () => fold(index));
  document.getElementById("depths").append(button);
});
showDepth();
document.getElementById("depths").hidden = data.depths.length < 2;
drawingOf(depth);
fit();
