// Reads cases [{receipt, file} or {log}] (base64) from a file, prints the browser checker's verdicts and digests as JSON.
import { readFileSync } from "node:fs";
import { checkLog } from "../../portal/static/portal/js/log.js";
import { Sha256, checkReceipt, hex } from "../../portal/static/portal/js/receipt.js";

const cases = JSON.parse(readFileSync(process.argv[2]));
const out = [];
for (const { receipt, log, file, answer } of cases) {
  const ask = answer === undefined ? null : async () => {
    if (answer === null) throw new Error("down");
    return answer;
  };
  if (log !== undefined) {
    const { verdict, reason, facts } = await checkLog(new Uint8Array(Buffer.from(log, "base64")), ask);
    out.push({ verdict, reason, complete_to: facts.complete_to, anchored: facts.anchored, is_withheld: facts.is_withheld });
    continue;
  }
  const bytes = file === null ? null : Buffer.from(file, "base64");
  const { verdict } = await checkReceipt(new Uint8Array(Buffer.from(receipt, "base64")), bytes && new Blob([bytes]), ask);
  out.push({ verdict, digest: bytes && hex(new Sha256().update(bytes.subarray(0, 7)).update(bytes.subarray(7)).digest()) });
}
console.log(JSON.stringify(out));
