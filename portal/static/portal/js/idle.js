// Idle sign-off that keeps the draft: while a person types, the page tells the server so; once the session has
// ended, the page is covered, nothing is lost, and it opens again only for the same person.
const { alive, account, idle } = document.body.dataset;
const idleMs = Number(idle) * 1000;
let lastAct = Date.now();
let lastTold = Date.now();
let cover = null;

const ask = async (isUse) => {
  const headers = isUse ? {} : { "X-Polling": "1" };
  const response = await fetch(alive, { headers, cache: "no-store", credentials: "same-origin" });
  return (await response.json()).account;
};

for (const kind of ["keydown", "pointerdown", "scroll"]) {
  addEventListener(kind, () => { lastAct = Date.now(); }, { passive: true, capture: true });
}

async function uncover() {
  const now = await ask(true).catch(() => "");
  if (now !== account) {
    if (now) location.reload(); // somebody else signed in: their page, not this one
    return;
  }
  cover.close();
  cover.remove();
  cover = null;
  // The new session has a new form token.
  const fresh = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
  const token = fresh.querySelector("[name=csrfmiddlewaretoken]")?.value;
  if (token) for (const field of document.querySelectorAll("[name=csrfmiddlewaretoken]")) field.value = token;
  document.querySelector("main").hidden = false;
  lastAct = lastTold = Date.now();
}

function signedOff() {
  if (cover) return;
  const template = document.getElementById("p-signed-off");
  document.querySelector("main").hidden = true;
  cover = document.createElement("dialog");
  cover.className = "p-dialog";
  cover.append(template.content.cloneNode(true));
  cover.addEventListener("cancel", (event) => event.preventDefault());
  cover.querySelector("button").addEventListener("click", uncover);
  document.body.append(cover);
  cover.showModal();
}

setInterval(async () => {
  if (cover) return;
  const isUse = lastAct > lastTold;
  if (!isUse && Date.now() - lastAct < idleMs) return;
  lastTold = Date.now();
  const now = await ask(isUse).catch(() => account); // offline is not signed off
  if (now !== account) signedOff();
}, Math.min(60_000, idleMs / 3));
