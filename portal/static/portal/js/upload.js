// Upload with real progress: fetch cannot report it, XMLHttpRequest can. Without this the plain form is sent.
// <form data-upload> … <div data-upload-status hidden><progress class="p-bar"><p data-upload-text>
// <button type="button" data-upload-cancel>…</div></form>
const megabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);

function wire(form) {
  const status = form.querySelector("[data-upload-status]");
  const bar = status.querySelector("progress");
  const text = status.querySelector("[data-upload-text]");
  const submit = form.querySelector("[type=submit]");
  let request = null;

  const say = (words) => { text.textContent = words; };
  const stop = (words) => {
    request = null;
    submit.disabled = false;
    say(words);
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (request) return;
    const begun = performance.now();
    request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "text/html");
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      const seconds = Math.ceil(((performance.now() - begun) / 1000) * (total / loaded - 1));
      bar.max = total;
      bar.value = loaded;
      say(loaded < total
        ? `${megabytes(loaded)} of ${megabytes(total)} MB, about ${seconds} s left`
        : "Everything has arrived, being checked and sealed…");
    });
    request.addEventListener("load", () => {
      if (request.status < 400 && request.responseURL !== new URL(form.action, location).href) {
        location.assign(request.responseURL);
        return;
      }
      // The server's own page holds the words and the filled-in form; the file stays chosen here.
      const page = new DOMParser().parseFromString(request.responseText, "text/html");
      const found = page.querySelectorAll(".p-errtext, .p-errors li, .p-error p");
      const words = [...new Set([...found].map((node) => node.textContent.trim()))].join(" ");
      stop(words || "The upload was not accepted. Nothing was stored; please try again.");
      status.classList.add("is-failed");
    });
    request.addEventListener("error", () => stop("The connection was lost. Nothing was stored; choose “Upload” to try again."));
    request.addEventListener("abort", () => stop("Cancelled. Nothing was stored."));
    status.hidden = false;
    status.classList.remove("is-failed");
    submit.disabled = true;
    say("Starting…");
    request.send(new FormData(form));
  });
  form.querySelector("[data-upload-cancel]")?.addEventListener("click", () => request?.abort());
}

document.querySelectorAll("form[data-upload]").forEach(wire);
