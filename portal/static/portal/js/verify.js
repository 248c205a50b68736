// The public page: reads both files here, asks the portal only what the chain holds about a root.
import { checkReceipt } from "./receipt.js";
import { fill, language, size, when } from "./verify_words.js";

const form = document.querySelector("[data-verify]");
const results = document.querySelector("[data-results]");

async function ask(anchor, leaf, kids) {
  const query = new URLSearchParams({ chain: anchor.chain, root: anchor.root, contract: anchor.contract, leaf });
  kids.forEach((kid) => query.append("kid", kid));
  const answer = await fetch(`${form.dataset.ask}?${query}`, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error("no answer");
  return answer.json();
}

function show({ verdict, reason, facts }, file) {
  for (const section of results.children) section.hidden = section.dataset.verdict !== verdict;
  const section = results.querySelector(`[data-verdict="${verdict}"]`);
  const anchor = facts.compared?.[0] ?? facts.anchors?.[0];
  if (verdict === "authentic") {
    const heading = section.querySelector("h2");
    heading.dataset.words ??= heading.textContent;
    heading.textContent = heading.dataset.words.replace("{time}", when(anchor.block_time));
    const blocks = facts.compared.map((item) => `${item.chain}chain ${form.dataset.block} ${new Intl.NumberFormat(language).format(item.block_number)}`);
    fill(section, "hospital", facts.hospital);
    fill(section, "blocks", new Intl.ListFormat(language).format(blocks));
  }
  if (verdict === "superseded") fill(section, "time", facts.at && when(facts.at));
  if (verdict === "erased") fill(section, "time", facts.at && when(facts.at, { dateStyle: "medium" }));
  fill(section, "reason", reason);
  fill(section, "file", file && `${file.name}, ${size(file.size)}`);
  section.focus();
}

if (form && results) {
  form.querySelector("[data-noscript]").hidden = true;
  const busy = form.querySelector("[data-busy]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const file = form.elements.file.files[0];
    const receipt = form.elements.receipt.files[0];
    busy.hidden = false;
    // An old green answer must not stand beside new files.
    for (const section of results.children) section.hidden = true;
    try {
      const bytes = new Uint8Array(await receipt.arrayBuffer());
      const outcome = globalThis.crypto?.subtle
        ? await checkReceipt(bytes, file, ask)
        : { verdict: "cannot check now", reason: form.dataset.insecure, facts: {} };
      show(outcome, file);
    } catch {
      show({ verdict: "cannot check now", reason: form.dataset.unreadable, facts: {} }, file);
    }
    busy.hidden = true;
  });
}
