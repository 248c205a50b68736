// Checks an access log export, in the browser and nowhere else. The same rules as verify_receipt.py --log, which is
// the reference: a test feeds both with the same exports and compares the answers.
import {
  Altered, CannotCheck, answerOf, checkAnchor, checkPlace, concat, encoder, hex, isInteger, isObject, isText, member,
  openSigned, readCanonical, sha256, unhex,
} from "./receipt.js";

const BITS = 256;
const ZERO = Uint8Array.of(0);
const ONE = Uint8Array.of(1);

const label = (text) => encoder.encode(`${text}\0`);

function uint64(document, name) {
  const value = member(document, name, isInteger);
  if (value < 0) throw new Altered(`The receipt has no readable “${name}”.`);
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, BigInt(value));
  return out;
}

// The leaf and the new link of entry `number`.
async function checkEntry(entry, number, previous, log) {
  if (!isObject(entry)) throw new Altered(`Entry ${number} is not readable.`);
  const text = encoder.encode(member(entry, "body", isText));
  const body = readCanonical(text, `entry ${number}`);
  if (body.patient_seq !== number) throw new Altered(`Entry ${number} is missing.`);
  if (body.hospital !== log.tenant || body.patient !== log.patient) throw new Altered(`Entry ${number} belongs to another log.`);
  const leaf = await sha256(ZERO, unhex(entry.salt, 32, `salt of entry ${number}`), await sha256(text));
  if (hex(leaf) !== entry.leaf) throw new Altered(`Entry ${number} was changed.`);
  if (body.patient_previous_link !== hex(previous)) throw new Altered(`Entry ${number} does not follow the one before it.`);
  const link = await sha256(previous, leaf);
  if (hex(link) !== entry.link) throw new Altered(`Entry ${number} was changed.`);
  return link;
}

// How many entries, from the first on without a gap, are in confirmed transactions.
function countAnchored(entries, anchors) {
  let count = 0;
  for (const [place, entry] of entries.entries()) {
    const at = Object.hasOwn(entry, "anchor") ? entry.anchor : null;
    if (at === null) break;
    if (!isInteger(at) || at < 0 || at >= anchors.length || !isObject(anchors[at])) {
      throw new Altered(`Entry ${place + 1} names an anchor that is not there.`);
    }
    if (anchors[at].state !== "final") break;
    checkPlace(anchors[at]);
    count += 1;
  }
  return count;
}

// How long the anchored map says that this line is, and how it ends. Returns the head that is anchored.
async function checkMap(log, found, links) {
  const number = uint64(found, "number");
  const count = uint64(found, "count");
  const length = links.length - 1;
  if (found.count > length) throw new Altered(`Entry ${length + 1} is missing: the anchored map counts ${found.count}.`);
  const key = unhex(log.log_key, 32, "log key");
  const siblings = member(found, "siblings", Array.isArray).map((item) => unhex(item, 32, "map"));
  if (siblings.length > BITS) throw new Altered("The map in the receipt is not readable.");
  const index = await sha256(label("medportal/log-index/v1"), key);
  const line = await sha256(label("medportal/log-line/v1"), key, number, count, links[found.count]);
  let node = await sha256(ZERO, index, line);
  for (const [step, sibling] of siblings.entries()) {
    const bit = siblings.length - 1 - step;
    const isRight = (index[bit >> 3] >> (7 - (bit & 7))) & 1;
    node = isRight ? await sha256(ONE, sibling, node) : await sha256(ONE, node, sibling);
  }
  if (hex(node) !== hex(unhex(found.root, 32, "root of the map"))) {
    throw new Altered(`Entries 1 to ${found.count} are not the ones in the anchored map.`);
  }
  const tenant = unhex(log.tenant, 16, "hospital");
  const end = unhex(found.link, 32, "end of the log");
  const before = unhex(found.previous, 32, "map before");
  const about = concat(tenant, number, uint64(found, "seq"), end, uint64(found, "lines"), node, before);
  const head = await sha256(ZERO, label("medportal/log-map/v1"), about);
  const anchors = member(found, "anchors", Array.isArray);
  if (!anchors.length || !anchors.every(isObject)) throw new Altered("An anchor in the receipt is not readable.");
  for (const anchor of anchors) await checkAnchor(anchor, head, "map");
  if (anchors.some((anchor) => anchor.index !== anchor.count - 1)) {
    // Two maps under one root would be two answers: only the last leaf counts.
    throw new Altered("Another map follows this one in the same batch.");
  }
  return anchors;
}

async function check(bytes, ask) {
  const { receipt: log, kid } = await openSigned(bytes, "access-log", [1, 2]);
  const entries = member(log, "entries", Array.isArray);
  const links = [new Uint8Array(32)];
  for (const [place, entry] of entries.entries()) links.push(await checkEntry(entry, place + 1, links[place], log));
  if (member(log, "count", isInteger) !== entries.length) throw new Altered(`Entry ${entries.length + 1} is missing: the log should have ${log.count}.`);
  const facts = { count: entries.length, complete_to: 0, issued_at: log.issued_at };
  facts.anchored = countAnchored(entries, member(log, "anchors", Array.isArray));
  const found = log.v === 2 && Object.hasOwn(log, "map") ? log.map : null;
  let anchors = [];
  if (found !== null) anchors = await checkMap(log, member(log, "map", isObject), links);
  if (anchors.some((anchor) => anchor.state !== "final")) anchors = [];
  const newer = ask && anchors.length ? await askPortal(anchors, kid, ask, facts) : null;
  if (!anchors.length || (found.count === 0 && entries.length)) return { verdict: "pending", facts };
  Object.assign(facts, { complete_to: found.count, anchor: anchors[0] });
  if (!newer) return { verdict: "authentic", facts };
  return { verdict: "superseded", facts: { ...facts, newer, is_withheld: newer.block_time < String(log.issued_at) } };
}

// `ask` answers for one anchor of a map: {is_known, head, anchored, organisation, newer, hospitals}, or throws.
async function askPortal(anchors, kid, ask, facts) {
  let newer = null;
  for (const [place, anchor] of anchors.entries()) {
    let answer = null;
    try {
      answer = await ask(anchor, kid);
    } catch {
      throw new CannotCheck("The ledger does not answer. This says nothing about the list.");
    }
    if (!answer.is_known) throw new CannotCheck("The list names a contract or chain that this portal does not follow.");
    if (!answer.hospitals[kid]) throw new CannotCheck("This portal does not know the key that signed the list.");
    const held = answer.anchored;
    if (!held && answer.head < anchor.block_number) throw new CannotCheck("The ledger has not caught up with this list.");
    if (!held) throw new Altered("The chain does not hold the map that the list names.");
    const isSame = held.block_number === anchor.block_number && held.count === anchor.count;
    if (!isSame || held.block_hash !== anchor.block_hash) {
      throw new Altered("The chain holds this map in another block or with another number of entries.");
    }
    if (held.organisation !== String(anchor.organisation).toLowerCase()) {
      throw new Altered("Another organisation anchored this map than the list says.");
    }
    // The first chain holds the log itself; the other is a witness of the same map.
    if (place === 0) newer = answer.newer;
    facts.hospital = answer.hospitals[kid];
  }
  facts.compared = anchors;
  return newer;
}

export async function checkLog(bytes, ask = null) {
  return answerOf(() => check(bytes, ask));
}
