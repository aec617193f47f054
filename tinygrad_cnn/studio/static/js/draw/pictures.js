/* Picture import: files, clipboard, drag and drop. */

const LONGEST = 560; // pixels of the longer side, as of the canvas
const LARGEST = 20_000_000; // bytes

/**
 * Return a picture file as a mark.
 *
 * @param {Blob} file
 * @returns {Promise<import("./drawing.js").Mark>}
 * @throws {Error} if it is not a picture, or too large
 */
export async function pictureOf(file) {
  if (file.size > LARGEST)
    throw new Error("This file is larger than 20 MB; choose a smaller picture.");
  let whole;
  try {
    whole = await createImageBitmap(file);
  } catch {
    throw new Error("This file could not be read as a picture; expected PNG, JPEG or WebP.");
  }
  const scale = Math.min(1, LONGEST / Math.max(whole.width, whole.height));
  const canvas = new OffscreenCanvas(
    Math.max(1, Math.round(whole.width * scale)),
    Math.max(1, Math.round(whole.height * scale)),
  );
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#ffffff"; // background of transparent pixels
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(whole, 0, 0, canvas.width, canvas.height);
  whole.close();
  const { gray, color } = groundOf(context);
  return {
    kind: "picture",
    bitmap: canvas.transferToImageBitmap(),
    ground: color,
    ink: gray > 127 ? "#000000" : "#ffffff",
  };
}

/** Return the background color: the border's median by gray level, as on the server. */
function groundOf(context) {
  const { width, height } = context.canvas;
  const edges = [
    [0, 0, width, 1],
    [0, height - 1, width, 1],
    [0, 0, 1, height],
    [width - 1, 0, 1, height],
  ];
  const pixels = edges.flatMap((edge) => {
    const { data } = context.getImageData(...edge);
    return Array.from({ length: data.length / 4 }, (_, place) => {
      const [red, green, blue] = data.subarray(4 * place);
      const gray = 0.299 * red + 0.587 * green + 0.114 * blue;
      return { gray, color: `rgb(${red} ${green} ${blue})` };
    });
  });
  pixels.sort((a, b) => a.gray - b.gray);
  return pixels[pixels.length >> 1];
}

/**
 * Listen for pictures pasted anywhere or dropped on an element.
 *
 * @param {HTMLElement} target
 * @param {(file: Blob) => void} taken
 * @returns {() => void} removes the listeners
 */
export function takePictures(target, taken) {
  const controller = new AbortController();
  const { signal } = controller;
  const first = (transfer) => [...(transfer?.files ?? [])][0];
  const paste = (event) => {
    const file = first(event.clipboardData);
    if (file) taken(file);
  };
  const over = (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    target.classList.add("over");
  };
  const drop = (event) => {
    target.classList.remove("over");
    const file = first(event.dataTransfer);
    if (!file) return;
    event.preventDefault();
    taken(file);
  };
  document.addEventListener("paste", paste, { signal });
  target.addEventListener("dragover", over, { signal });
  target.addEventListener("dragleave", () => target.classList.remove("over"), { signal });
  target.addEventListener("drop", drop, { signal });
  return () => controller.abort();
}
