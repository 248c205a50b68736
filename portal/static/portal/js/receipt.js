// Checks a record against its receipt, in the browser and nowhere else. The same rules as verify_receipt.py,
// which is the reference: a test feeds both with the same receipts and compares the answers.

const LABEL = "medportal/sig/v1\0";
const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const SMALL_FILE_BYTES = 32 * 1024 * 1024;

export class Altered extends Error {}
export class CannotCheck extends Error {}

export const encoder = new TextEncoder();

// Canonical JSON (RFC 8785, without fractions)

export function canonical(value) {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "string") {
    if (/\p{Surrogate}/u.test(value)) throw new Error("half a character");
    return JSON.stringify(value);
  }
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value)) throw new Error("not a safe integer");
    return String(value);
  }
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${canonical(name)}:${canonical(value[name])}`).join(",")}}`;
}

export function readCanonical(bytes, what) {
  let value = null;
  let same = false;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
    same = canonical(value) === text;
  } catch {
    same = false;
  }
  if (!same || value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new Altered(`The ${what} is not in the one exact form in which it was issued.`);
  }
  return value;
}

// Bytes

export function concat(...parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function unhex(value, length, what, prefix = "") {
  const body = typeof value === "string" && value.startsWith(prefix) ? value.slice(prefix.length) : null;
  if (body === null || !/^([0-9a-f]{2})*$/.test(body) || body.endsWith("\n") || (length && body.length !== 2 * length)) {
    throw new Altered(`The ${what} in the receipt is not readable.`);
  }
  return Uint8Array.from(body.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

export function member(document, name, fits) {
  const value = Object.hasOwn(document, name) ? document[name] : undefined;
  if (!fits(value)) throw new Altered(`The receipt has no readable “${name}”.`);
  return value;
}
export const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
export const isText = (value) => typeof value === "string";
export const isInteger = (value) => Number.isSafeInteger(value);

export async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", concat(...parts)));
}

// SHA-256 of a stream: WebCrypto wants the whole file in memory, which a large image does not allow.

const ROUNDS = new Uint32Array(64);
const START = new Uint32Array(8);
{
  const fraction = (value) => ((value - Math.floor(value)) * 2 ** 32) | 0;
  let found = 0;
  for (let n = 2; found < 64; n += 1) {
    let isPrime = true;
    for (let d = 2; d * d <= n; d += 1) if (n % d === 0) isPrime = false;
    if (!isPrime) continue;
    if (found < 8) START[found] = fraction(Math.sqrt(n));
    ROUNDS[found] = fraction(Math.cbrt(n));
    found += 1;
  }
}

export class Sha256 {
  constructor() {
    this.state = START.slice();
    this.block = new Uint8Array(64);
    this.words = new Uint32Array(64);
    this.filled = 0;
    this.size = 0;
  }

  update(data) {
    this.size += data.length;
    let at = 0;
    while (at < data.length) {
      const take = Math.min(64 - this.filled, data.length - at);
      this.block.set(data.subarray(at, at + take), this.filled);
      this.filled += take;
      at += take;
      if (this.filled === 64) this.compress();
    }
    return this;
  }

  digest() {
    const bits = BigInt(this.size) * 8n;
    const padding = new Uint8Array((this.filled < 56 ? 64 : 128) - this.filled);
    padding[0] = 0x80;
    new DataView(padding.buffer, padding.byteOffset).setBigUint64(padding.length - 8, bits);
    this.update(padding);
    const out = new Uint8Array(32);
    const view = new DataView(out.buffer);
    this.state.forEach((word, i) => view.setUint32(i * 4, word));
    return out;
  }

  compress() {
    const { words: w, block, state } = this;
    for (let i = 0; i < 16; i += 1) {
      w[i] = (block[i * 4] << 24) | (block[i * 4 + 1] << 16) | (block[i * 4 + 2] << 8) | block[i * 4 + 3];
    }
    for (let i = 16; i < 64; i += 1) {
      const x = w[i - 15];
      const y = w[i - 2];
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 64; i += 1) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + ROUNDS[i] + w[i]) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    [a, b, c, d, e, f, g, h].forEach((word, i) => {
      state[i] += word;
    });
    this.filled = 0;
  }
}

async function fileDigest(file) {
  if (file.size <= SMALL_FILE_BYTES) return sha256(new Uint8Array(await file.arrayBuffer()));
  const hash = new Sha256();
  const reader = file.stream().getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) hash.update(part.value);
  return hash.digest();
}

// Signatures and proofs

export async function checkSignature(kind, text, signature, publicKey, who) {
  const spki = unhex(publicKey, null, `key of ${who}`);
  const value = unhex(signature, 64, `signature of ${who}`);
  const message = concat(encoder.encode(`${LABEL}${kind}\0`), await sha256(encoder.encode(text)));
  const r = BigInt(`0x${hex(value.subarray(0, 32))}`);
  const s = BigInt(`0x${hex(value.subarray(32))}`);
  let holds = r > 0n && r < P256_ORDER && s > 0n && s <= P256_ORDER / 2n;
  if (holds) {
    try {
      const key = await crypto.subtle.importKey("spki", spki, { name: "ECDSA", namedCurve: "P-256" }, false, ["verify"]);
      holds = await crypto.subtle.verify({ name: "ECDSA", hash: "SHA-256" }, key, value, message);
    } catch {
      throw new Altered("A public key in the receipt is not readable.");
    }
  }
  if (!holds) throw new Altered(`The signature of ${who} does not fit.`);
  return hex(await sha256(spki));
}

export async function rootFromProof(leaf, index, count, proof) {
  if (index < 0 || index >= count) return null;
  let first = index;
  let last = count - 1;
  let value = leaf;
  for (const sibling of proof) {
    if (last === 0) return null;
    if (first % 2 === 1 || first === last) {
      value = await sha256(Uint8Array.of(1), sibling, value);
      while (first % 2 === 0 && first !== 0) {
        first /= 2;
        last = Math.floor(last / 2);
      }
    } else {
      value = await sha256(Uint8Array.of(1), value, sibling);
    }
    first = Math.floor(first / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 ? value : null;
}

// The check

async function checkManifests(receipt) {
  const parts = {};
  for (const [layer, who] of [["authored", "the author"], ["epoch", "the hospital on the sealed copy"]]) {
    const part = member(receipt, layer, isObject);
    const text = member(part, "manifest", isText);
    const manifest = readCanonical(encoder.encode(text), `${layer} manifest`);
    parts[layer] = { text, manifest, kid: await checkSignature(layer, text, part.signature, part.public_key, who) };
  }
  const { authored, epoch } = parts;
  if (authored.manifest.author_kid !== authored.kid) throw new Altered("The author's key is not the one that the author named.");
  if (epoch.manifest.authored_digest !== hex(await sha256(encoder.encode(authored.text)))) {
    throw new Altered("The sealed copy belongs to another original.");
  }
  if (epoch.manifest.signer_kid !== epoch.kid) throw new Altered("The hospital's key is not the one that the sealed copy names.");
  if (authored.manifest.tenant !== receipt.tenant) throw new Altered("The receipt names another hospital than the author did.");
  return parts;
}

async function checkFile(authored, receipt, file) {
  const salt = unhex(receipt.salt32, 32, "salt");
  const promised = unhex(authored.pt_commit, 32, "commitment");
  if (file.size !== authored.size) throw new Altered("The file has another length than the one that was sealed.");
  const key = await crypto.subtle.importKey("raw", salt, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
  if (!(await crypto.subtle.verify("HMAC", key, promised, await fileDigest(file)))) {
    throw new Altered("The file is not, byte for byte, the one that was sealed.");
  }
}

// Where to look: any chain, any contract, any block, but readable.
export function checkPlace(anchor) {
  const contract = typeof anchor.contract === "string" ? anchor.contract.toLowerCase() : anchor.contract;
  unhex(contract, 20, "contract", "0x");
  member(anchor, "chain", isText);
  member(anchor, "chain_id", isInteger);
  member(anchor, "block_number", isInteger);
}

export async function checkAnchor(anchor, leaf, what = "record") {
  checkPlace(anchor);
  const root = unhex(anchor.root, 32, "root", "0x");
  const proof = member(anchor, "proof", Array.isArray).map((item) => unhex(item, 32, "proof", "0x"));
  const found = await rootFromProof(leaf, member(anchor, "index", isInteger), member(anchor, "count", isInteger), proof);
  if (found === null || hex(found) !== hex(root)) throw new Altered(`The proof does not lead from this ${what} to the anchored root.`);
}

// The hospital's signature over the whole document, so that no byte of it can change unnoticed.
export async function openSigned(bytes, type, versions) {
  const receipt = readCanonical(bytes.at(-1) === 10 ? bytes.subarray(0, -1) : bytes, "receipt");
  if (!versions.includes(receipt.v) || receipt.type !== type) {
    throw new CannotCheck(`This is not a version ${versions.at(-1)} ${type}; a newer checker may know it.`);
  }
  const { signature, ...rest } = receipt;
  if (!isObject(signature)) throw new Altered("The receipt has no readable “signature”.");
  return { receipt, kid: await checkSignature("receipt", canonical(rest), signature.value, signature.public_key, "the hospital") };
}

async function check(bytes, file, ask) {
  const { receipt, kid } = await openSigned(bytes, "record-receipt", [1]);
  const kids = [kid];
  const { authored, epoch } = await checkManifests(receipt);
  kids.push(epoch.kid);
  const leaf = unhex(receipt.leaf, 32, "leaf");
  if (receipt.status !== "erased") {
    const leafSalt = unhex(receipt.leaf_salt, 32, "salt of the leaf");
    const salted = await sha256(Uint8Array.of(0), leafSalt, await sha256(encoder.encode(epoch.text)));
    if (hex(salted) !== hex(leaf)) throw new Altered("The entry of the receipt was made for another record.");
    if (file) await checkFile(authored.manifest, receipt, file);
  }
  const anchors = member(receipt, "anchors", Array.isArray);
  if (!anchors.every(isObject)) throw new Altered("An anchor in the receipt is not readable.");
  const placed = anchors.filter((anchor) => Object.hasOwn(anchor, "root"));
  for (const anchor of placed) await checkAnchor(anchor, leaf);
  const facts = { anchors, kids, leaf: receipt.leaf, version: authored.manifest.version };
  if (receipt.status === "erased") {
    return { verdict: "erased", facts: { ...facts, ...member(receipt, "erased", isObject) } };
  }
  if (!placed.length || placed.length < anchors.length || anchors.some((anchor) => anchor.state !== "final")) {
    return { verdict: "pending", facts };
  }
  if (!file) throw new CannotCheck("The receipt is sound, but no file was given to compare with it.");
  if (ask) Object.assign(facts, await askChains(placed, receipt.leaf, kids, ask));
  if (facts.status === "erased") return { verdict: "erased", facts };
  if (receipt.status === "superseded") return { verdict: "superseded", facts: { ...facts, ...member(receipt, "superseded", isObject) } };
  if (receipt.status === "withdrawn") return { verdict: "superseded", facts: { ...facts, ...member(receipt, "withdrawn", isObject) } };
  if (receipt.status !== "current") throw new Altered("The receipt has a state that does not exist.");
  if (facts.status === "superseded" || facts.status === "withdrawn") return { verdict: "superseded", facts };
  return { verdict: "authentic", facts };
}

// `ask` answers for one anchor from the chain: {is_known, anchored, head, hospitals, status}, or throws.
async function askChains(anchors, leaf, kids, ask) {
  const facts = { compared: [] };
  for (const anchor of anchors) {
    let answer = null;
    try {
      answer = await ask(anchor, leaf, kids);
    } catch {
      throw new CannotCheck("The ledger does not answer. This says nothing about the file.");
    }
    if (!answer.is_known) throw new CannotCheck("The receipt names a contract or chain that this portal does not follow.");
    const held = answer.anchored;
    if (!held && answer.head < anchor.block_number) throw new CannotCheck("The ledger has not caught up with this receipt.");
    if (!held) throw new Altered("The chain does not hold the root that the receipt names.");
    const isSame = held.block_number === anchor.block_number && held.count === anchor.count;
    if (!isSame || held.block_hash !== anchor.block_hash) {
      throw new Altered("The chain holds this root with another block or another number of entries.");
    }
    if (kids.some((kid) => !answer.hospitals[kid])) throw new CannotCheck("This portal does not know the key that signed the receipt.");
    if (answer.organisation && answer.organisation !== String(anchor.organisation).toLowerCase()) {
      throw new Altered("Another organisation anchored this root than the receipt says.");
    }
    facts.hospital = answer.hospitals[kids[0]];
    facts.status = answer.status;
    facts.compared.push(anchor);
  }
  return facts;
}

export async function checkReceipt(bytes, file, ask = null) {
  return answerOf(() => check(bytes, file, ask));
}

export async function answerOf(run) {
  try {
    return await run();
  } catch (error) {
    if (error instanceof Altered) return { verdict: "altered", reason: error.message, facts: {} };
    if (error instanceof CannotCheck) return { verdict: "cannot check now", reason: error.message, facts: {} };
    return { verdict: "cannot check now", reason: "The check could not run here.", facts: {} };
  }
}
