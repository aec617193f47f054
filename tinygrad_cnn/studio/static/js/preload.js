/* Preloads the modules of the view that is opened first, beside those that every view needs. */

const view = location.hash.match(/^#\/(\w+)/)?.[1] ?? "draw";
const links = document.getElementById(`modules-${view}`); // made by the server
if (links !== null) document.head.append(document.importNode(links.content, true));
