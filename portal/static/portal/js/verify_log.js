// The second form of the public page: a list of who looked is read here, only its root and key id go to the portal.
import { checkLog } from "./log.js";
import { fill, language, size, when } from "./verify_words.js";

const form = document.querySelector("[data-verify-log]");
const results = document.querySelector("[data-log-results]");
const number = (value) => new Intl.NumberFormat(language).format(value);

async function ask(anchor, kid) {
  const query = new URLSearchParams({ chain: anchor.chain, root: anchor.root, contract: anchor.contract, kid });
  const answer = await fetch(`${form.dataset.ask}?${query}`, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error("no answer");
  return answer.json();
}

function words(section, name, values) {
  const place = section.querySelector(`[data-fill="${name}"]`);
  return Object.entries(values).reduce((text, [key, value]) => text.replace(`{${key}}`, value), place.dataset.words);
}

function show({ verdict, reason, facts }, file) {
  for (const section of results.children) section.hidden = section.dataset.verdict !== verdict;
  const section = results.querySelector(`[data-verdict="${verdict}"]`);
  if (verdict === "authentic") {
    const heading = section.querySelector("h3");
    heading.dataset.words ??= heading.textContent;
    heading.textContent = heading.dataset.words.replace("{count}", number(facts.complete_to));
    const blocks = facts.compared.map((item) => `${item.chain}chain ${form.dataset.block} ${number(item.block_number)} (${when(item.block_time)})`);
    fill(section, "hospital", facts.hospital);
    fill(section, "blocks", new Intl.ListFormat(language).format(blocks));
    const later = facts.count - facts.complete_to;
    fill(section, "later", later ? words(section, "later", { n: number(later) }) : "");
  }
  if (verdict === "superseded") {
    const { block_number: block, block_time: time } = facts.newer;
    fill(section, "newer", words(section, "newer", { count: number(facts.complete_to), block: number(block), time: when(time) }));
    fill(section, "withheld", facts.is_withheld ? words(section, "withheld", {}) : "");
  }
  fill(section, "reason", reason);
  fill(section, "file", file && `${file.name}, ${size(file.size)}`);
  section.focus();
}

if (form && results) {
  form.querySelector("[data-noscript]").hidden = true;
  const busy = form.querySelector("[data-busy]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const file = form.elements.log.files[0];
    busy.hidden = false;
    // An old green answer must not stand beside a new file.
    for (const section of results.children) section.hidden = true;
    try {
      const bytes = new Uint8Array(await file.arrayBuffer());
      const outcome = globalThis.crypto?.subtle
        ? await checkLog(bytes, ask)
        : { verdict: "cannot check now", reason: form.dataset.insecure, facts: {} };
      show(outcome, file);
    } catch {
      show({ verdict: "cannot check now", reason: form.dataset.unreadable, facts: {} }, file);
    }
    busy.hidden = true;
  });
}
