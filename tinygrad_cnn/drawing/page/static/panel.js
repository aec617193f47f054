/* The panel: a step as formulas, numbers and pictures. */

const nodes = new Map(data.nodes.map((node) => [node.id, node]));
const edges = new Map(data.edges.map((edge) => [edge.id, edge]));

/** Return the name of a node for a sentence. */
function called(node) {
  if (node.kind !== "op" || node.name !== node.op) return node.name || node.kind;
  return node.scope ? `${node.op} in ${node.scope}` : node.op;
}

/** Return the parts of the panel for a step. */
function explained(step) {
  if (step.phase === "result") return result();
  const node = nodes.get(step.node);
  const parts = [heading(step, node), formulaOf(node)];
  return parts.concat(step.phase === "forward" ? forward(node) : backward(node));
}

const LOCAL = {
  elementwise: "entry by entry",
  jacobian: "a row for each entry of y",
  share: "summed over y",
};

function heading(step, node) {
  const title = element(
    "h2",
    {},
    node.op || called(node),
    node.scope ? element("span", {}, ` in ${node.scope}`) : "",
    node.op && node.name !== node.op ? element("span", {}, `, ${node.name}`) : "",
  );
  return element(
    "div",
    { class: `heading ${step.phase}` },
    element("p", { class: "phase" }, where(step)),
    title,
  );
}

/** Return the position of a step in its half: Backward 3 of 14. */
function where(step) {
  if (step.phase === "result") return "The gradients";
  const name = step.phase === "forward" ? "Forward" : "Backward";
  return `${name} ${step.number} of ${step.of}`;
}

function formulaOf(node) {
  const made = element("div", { class: "formula" });
  if (node.formula) made.append(formula(`y = ${node.formula}`, node.equation));
  node.options.forEach((option) => made.append(element("span", { class: "option" }, option)));
  return made;
}

function formula(text, equation) {
  const made = element("p", { class: "mathematics" }, text);
  if (equation) made.append(element("span", { class: "equation" }, equation));
  return made;
}

function part(title, ...content) {
  return element("section", {}, element("h3", {}, title), ...content);
}

// --- forward -------------------------------------------------------------------------------------

function forward(node) {
  const given = node.inputs.map((id) => {
    const { argument, source } = edges.get(id);
    const words = called(nodes.get(source));
    return figure(argument, nodes.get(source).value, {
      words: words === argument ? "" : words,
      height: 150,
    });
  });
  const parts = [
    part("Inputs", element("div", { class: "figures" }, ...given)),
    part("Output", figure("y", node.value, { height: 300 })),
  ];
  if (node.error) parts.push(part("Failed", element("p", { class: "error" }, node.error)));
  return parts;
}

// --- backward ------------------------------------------------------------------------------------

function backward(node) {
  const given = node.inputs.map((id) => edges.get(id));
  const sent = given.filter((edge) => edge.gradient !== null).map(sending);
  const rest = given.filter((edge) => edge.gradient === null).map((edge) => edge.argument);
  if (rest.length) {
    const words = `No gradient is passed on to ${rest.join(", ")}: none is required there.`;
    sent.push(element("section", {}, element("p", { class: "words" }, words)));
  }
  return [arriving(node), ...sent];
}

/** Return the gradient flowing into a node: one gradient, or contributions and their sum. */
function arriving(node) {
  const contributions = node.outputs
    .map((id) => edges.get(id))
    .filter((edge) => edge.gradient !== null);
  if (!contributions.length) {
    return part("Gradient flowing in", figure("g = ∂E/∂y", node.gradient, { words: "the sweep starts here" }));
  }
  if (contributions.length === 1) {
    const words = `from ${called(nodes.get(contributions[0].target))}`;
    return part("Gradient flowing in", figure("g = ∂E/∂y", node.gradient, { words }));
  }
  return part("Gradient flowing in", summed(contributions, "g = ∂E/∂y", node.gradient));
}

/** Return the contributions that meet at a node, and their sum. */
function summed(contributions, symbol, sum) {
  const made = element("div", { class: "sum" });
  const parts = contributions.map((edge) => edge.gradient);
  const digits = digitsOf(parts, sum);
  contributions.forEach((edge, k) => {
    const words = `from ${called(nodes.get(edge.target))}, for its ${edge.argument}`;
    made.append(figure(k ? "+" : "", edge.gradient, { words, height: 110, digits: digits ?? 4 }));
  });
  const sign = digits === null ? "≈" : "=";
  made.append(figure(`${sign} ${symbol}`, sum, { words: `the sum of ${parts.length}` }));
  return made;
}

/**
 * Return the number of digits at which the written contributions add up to the written sum.
 * `null` if no number works because the addition was rounded; four if they are drawn, not written.
 */
function digitsOf(parts, sum) {
  if (sum === null || !isWritten(data.arrays[sum].kept)) return 4;
  const [total, ...values] = [sum, ...parts].map(valuesOf);
  for (let digits = 4; digits <= 17; digits += 1) {
    const rounded = (x) => Number(x.toPrecision(digits));
    const holds = (x, place) => {
      if (!Number.isFinite(x)) return true;
      const made = values.reduce((whole, part) => whole + rounded(part[place]), 0);
      return number(made) === number(x);
    };
    if (total.every(holds)) return digits;
  }
  return null;
}

/** Return the gradient that a call sends to one of its arguments, and its computation. */
function sending(edge) {
  const parent = called(nodes.get(edge.source));
  return part(
    parent === edge.argument ? `To ${parent}` : `To ${edge.argument}, ${parent}`,
    formula(`∂E/∂${edge.argument} = ${edge.formula}`, edge.equation),
    local(edge),
    figure(`∂E/∂${edge.argument}`, edge.gradient, { words: "passed on" }),
  );
}

/** Return the local derivative of an edge: its values, or else the arrays that its rule reads. */
function local(edge) {
  const symbol = `∂y/∂${edge.argument}`;
  if (edge.local !== null) {
    return figure(symbol, edge.local.array, {
      words: `the local derivative, ${LOCAL[edge.local.kind]}`,
    });
  }
  if (!edge.reads.length) return null;
  const read = edge.reads.map(({ name, array }) => figure(name, array, { height: 140 }));
  const words = `The local derivative ${symbol} consists of`;
  return element(
    "div",
    {},
    element("p", { class: "words made" }, words),
    element("div", { class: "figures" }, ...read),
  );
}

// --- the end -------------------------------------------------------------------------------------

/** Return the gradient of every leaf, as in .grad. */
function result() {
  const reached = data.nodes.filter((node) => node.kind !== "op" && node.gradient !== null);
  const heading = element(
    "div",
    { class: "heading result" },
    element("p", { class: "phase" }, "The end of the sweep"),
    element("h2", {}, "The gradients in .grad"),
  );
  return [heading, ...reached.map(leaf)];
}

function leaf(node) {
  const contributions = node.outputs
    .map((id) => edges.get(id))
    .filter((edge) => edge.gradient !== null);
  const symbol = `∂E/∂${node.name || node.kind}`;
  const made = part(
    node.name || node.kind,
    contributions.length > 1
      ? summed(contributions, symbol, node.gradient)
      : figure(symbol, node.gradient),
  );
  made.dataset.leaf = node.id;
  return made;
}

/** Return a step as one sentence, for screen readers. */
function said(step) {
  if (step.phase === "result") return "The end: the gradient of every parameter.";
  const node = nodes.get(step.node);
  const sentence = `${where(step)}: ${called(node)}.`;
  const place = step.phase === "forward" ? node.value : node.gradient;
  if (place === null) return sentence;
  const array = data.arrays[place];
  const name = step.phase === "forward" ? "Its value" : "The gradient flowing in";
  const one = array.shape.every((size) => size === 1);
  return `${sentence} ${name} is ${one ? number(valuesOf(place)[0]) : described(array)}.`;
}
