/* The player: the current step and its controls. */

const PAUSE = 1400; // milliseconds per step while playing

const byId = (id) => document.getElementById(id);
const slider = byId("step");
const still = matchMedia("(prefers-reduced-motion: reduce)");
let current = -1;
let timer = null;

/** Show a step: in the graph, in the panel, on the slider, and in words. */
function goTo(wanted) {
  const index = Math.max(0, Math.min(data.steps.length - 1, wanted));
  if (index === current) return;
  const near = Math.abs(index - current) === 1;
  current = index;
  const step = data.steps[index];
  slider.value = index;
  slider.setAttribute("aria-valuetext", said(step));
  byId("where").textContent = said(step);
  byId("panel").replaceChildren(...explained(step));
  byId("panel").scrollTop = 0;
  document.body.dataset.phase = step.phase;
  for (const id of ["first", "previous"]) byId(id).disabled = index === 0;
  for (const id of ["next", "last"]) byId(id).disabled = index === data.steps.length - 1;
  light(index, near && !still.matches);
}

function play() {
  if (current === data.steps.length - 1) goTo(0);
  byId("where").setAttribute("aria-live", "off"); // else screen readers would read every step
  timer = setInterval(() => {
    goTo(current + 1);
    if (current === data.steps.length - 1) pause();
  }, PAUSE);
  showPlaying(true);
}

function pause() {
  clearInterval(timer);
  timer = null;
  byId("where").setAttribute("aria-live", "polite");
  showPlaying(false);
}

function showPlaying(playing) {
  byId("play").setAttribute("aria-label", playing ? "Pause" : "Play");
  byId("play").classList.toggle("playing", playing);
}

/** Go to a step on user input, which stops playing. */
function jump(index) {
  if (timer !== null) pause();
  goTo(index);
}

const KEYS = {
  ArrowRight: () => jump(current + 1),
  ArrowLeft: () => jump(current - 1),
  Home: () => jump(0),
  End: () => jump(data.steps.length - 1),
  " ": () => (timer === null ? play() : pause()),
};

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (event.key === " " && event.target.closest("button, [role=button]")) return;
  if (event.target.closest(".scroll, [type=search]") || !(event.key in KEYS)) return; // arrow keys scroll there
  event.preventDefault();
  KEYS[event.key]();
});

slider.max = data.steps.length - 1;
slider.addEventListener("input", () => jump(Number(slider.value)));
byId("first").addEventListener("click", () => jump(0));
byId("previous").addEventListener("click", () => jump(current - 1));
byId("next").addEventListener("click", () => jump(current + 1));
byId("last").addEventListener("click", () => jump(data.steps.length - 1));
byId("play").addEventListener("click", () => (timer === null ? play() : pause()));

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  const shown = current;
  current = -1; // repaint pictures in the new color scheme
  goTo(shown);
});

const forwards = data.steps.filter((step) => step.phase === "forward").length;
byId("halves").lastElementChild.hidden = forwards === data.steps.length;
document.documentElement.style.setProperty("--forward", `${(100 * forwards) / data.steps.length}%`);
goTo(0);
