// Small helpers of every page. Pages work without them; nothing here is needed to read or to send.

// Copy buttons stay hidden until this script says they will work.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
}
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  const words = button.firstChild;
  const before = words.textContent;
  words.textContent = "Copied";
  setTimeout(() => { words.textContent = before; }, 2000);
});
document.addEventListener("htmx:after:swap", () => {
  for (const button of document.querySelectorAll("[data-copy][hidden]")) button.hidden = !navigator.clipboard;
});

// A form sent twice by a quick second click would only meet an error page.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.sent || form.matches("[data-upload]")) {
    if (form.dataset.sent) event.preventDefault();
    return;
  }
  if (form.method === "post") {
    form.dataset.sent = "yes";
    setTimeout(() => { delete form.dataset.sent; }, 5000);
  }
});

// After a failed form the summary is read first.
document.querySelector("[data-focus]")?.focus();

// Escape closes the phone menu and gives the focus back.
document.addEventListener("keydown", (event) => {
  const open = event.key === "Escape" && document.querySelector(".p-menu[open]");
  if (open) {
    open.open = false;
    open.querySelector("summary").focus();
  }
});

const offline = document.getElementById("p-offline");
const tellOffline = () => { if (offline) offline.hidden = navigator.onLine; };
addEventListener("online", tellOffline);
addEventListener("offline", tellOffline);
tellOffline();

// A page kept by the browser must not show clinical data after sign-out: Back asks the server again.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

// Parts that need scripts (passkeys) show only when there are some.
for (const part of document.querySelectorAll("[data-needs-script]")) part.hidden = false;

// A passkey that was cancelled or refused: say so where the person looks.
document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  document.getElementById("p-passkey-error")?.remove();
  const note = document.createElement("p");
  note.id = "p-passkey-error";
  note.className = "p-errtext";
  note.setAttribute("role", "alert");
  note.textContent = "The passkey was not used. Try again, or sign in another way.";
  (document.querySelector("#passkey_login, #mfa_webauthn_add, #mfa_webauthn_authenticate, #mfa_webauthn_reauthenticate")
    ?? document.querySelector("main h1")).after(note);
});

if (document.body.dataset.alive) import("./idle.js");
if (document.querySelector("form[data-upload]")) import("./upload.js");
