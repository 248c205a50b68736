// Uploads with a bar, a cancel button and an error for each file. Fetch cannot report progress, XMLHttpRequest can.
// One request for each file: a refused one stays in the list with its reason, the others go on, nothing is sent twice.
// Without this script the same form is sent as a whole.
const AT_ONCE = 2;
const megabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
const sized = (bytes) => (bytes < 1e5 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${megabytes(bytes)} MB`);

function wire(form) {
  const input = form.querySelector("input[type=file]");
  const list = form.querySelector("[data-upload-list]");
  const sample = form.querySelector("[data-upload-row]");
  const submit = form.querySelector("[type=submit]");
  const word = form.querySelector("[data-upload-word]");
  const status = form.querySelector("[data-upload-status]");
  const plainWord = word.textContent;
  const rows = [];

  const say = (words) => { status.textContent = words; };
  const waiting = () => rows.filter((row) => row.state === "ready");
  const isBusy = () => rows.some((row) => row.state === "sending");

  function refresh() {
    const count = waiting().length;
    word.textContent = count > 1 ? `${plainWord} ${count} files` : plainWord;
    submit.disabled = isBusy();
    list.hidden = rows.length === 0;
    input.required = rows.length === 0;
  }

  function fail(row, words) {
    row.state = "failed";
    row.error.textContent = words;
    row.error.hidden = false;
    row.bar.hidden = true;
    row.text.textContent = sized(row.file.size);
    row.word.textContent = "Remove";
    row.element.querySelector(".p-ico").classList.add("p-ico--stop");
    say(`${row.file.name}: ${words}`);
  }

  function add(file) {
    const element = sample.content.firstElementChild.cloneNode(true);
    const part = (name) => element.querySelector(`[data-${name}]`);
    const row = { file, element, state: "ready", request: null, bar: part("bar"), text: part("text"), error: part("error"), word: part("word") };
    part("name").textContent = file.name;
    part("for").textContent = ` ${file.name}`;
    row.bar.setAttribute("aria-label", `${file.name}, uploaded`);
    row.bar.hidden = true;
    row.text.textContent = sized(file.size);
    part("cancel").addEventListener("click", () => {
      if (row.state === "sending") {
        row.request.abort();
        return;
      }
      rows.splice(rows.indexOf(row), 1);
      element.remove();
      refresh();
      input.focus();
    });
    rows.push(row);
    list.append(element);
    const most = Number(form.dataset.maxBytes);
    if (file.size === 0) fail(row, "The file is empty (0 bytes). Check it on your computer and choose it again.");
    else if (file.size > most) fail(row, `The file is larger than ${megabytes(most)} MB. Split it, or ask your administrator for a larger limit.`);
  }

  input.addEventListener("change", () => {
    const most = Number(form.dataset.maxFiles);
    if (most === 1) while (rows.length) rows.pop().element.remove();
    for (const file of input.files) {
      if (rows.length < most) add(file);
      else say(`At most ${most} files at a time; the rest was left out.`);
    }
    // The list holds the files from here on, so more can be chosen and nothing is sent twice.
    input.value = "";
    refresh();
  });

  function send(row) {
    return new Promise((done) => {
      const data = new FormData(form);
      data.delete("file");
      data.append("part", rows.indexOf(row) + 1);
      data.append("parts", rows.length);
      data.append("file", row.file, row.file.name);
      const begun = performance.now();
      const request = new XMLHttpRequest();
      row.request = request;
      row.state = "sending";
      row.error.hidden = true;
      row.bar.hidden = false;
      row.word.textContent = "Cancel";
      row.text.textContent = "Starting…";
      request.open("POST", form.action);
      request.setRequestHeader("Accept", "application/json");
      request.upload.addEventListener("progress", ({ loaded, total }) => {
        const seconds = Math.ceil(((performance.now() - begun) / 1000) * (total / loaded - 1));
        row.bar.max = total;
        row.bar.value = loaded;
        row.text.textContent = loaded < total
          ? `${sized(loaded)} of ${sized(total)}, about ${seconds} s left`
          : "Arrived, being checked…";
      });
      request.addEventListener("load", () => {
        let answer = {};
        try { answer = JSON.parse(request.responseText); } catch { /* an error page of a server in between */ }
        if (request.status === 201) {
          row.state = "sent";
          row.bar.hidden = true;
          row.text.textContent = "Received";
          row.word.parentElement.hidden = true;
          say(`${row.file.name} was received.`);
        } else {
          fail(row, answer.error?.message ?? answer.error ?? "It was not accepted and nothing of it is kept. Reload the page and try again.");
        }
        done();
      });
      request.addEventListener("error", () => { fail(row, "The connection was lost. Nothing of it is kept; choose “Upload” to send it again."); row.state = "ready"; done(); });
      request.addEventListener("abort", () => { fail(row, "Cancelled. Nothing of it is kept."); done(); });
      request.send(data);
    });
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isBusy()) return;
    for (const row of rows) if (row.state === "failed" && row.error.textContent.startsWith("Cancelled")) row.state = "ready";
    if (!waiting().length) {
      say("Choose at least one file first.");
      input.focus();
      return;
    }
    if (!form.reportValidity()) return;
    const lanes = Array.from({ length: AT_ONCE }, async () => {
      for (let row = waiting()[0]; row; row = waiting()[0]) {
        const sending = send(row);
        refresh();
        await sending;
        if (row.state === "ready") break; // the connection is gone; a person decides when to try again
      }
    });
    await Promise.all(lanes);
    refresh();
    if (rows.every((row) => row.state === "sent")) {
      location.assign(form.dataset.done);
      return;
    }
    const states = document.getElementById("states");
    if (rows.some((row) => row.state === "sent") && states && window.htmx) {
      window.htmx.ajax("GET", states.dataset.states, { target: "#states", swap: "outerHTML" });
    }
  });

  addEventListener("beforeunload", (event) => { if (isBusy()) event.preventDefault(); });
  refresh();
}

document.querySelectorAll("form[data-upload]").forEach(wire);
