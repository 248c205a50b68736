// Reads cases [{receipt, file}] (base64) from a file, prints the browser checker's verdicts and digests as JSON.
import { readFileSync } from "node:fs";
import { Sha256, checkReceipt, hex } from "../../portal/static/portal/js/receipt.js";

const cases = JSON.parse(readFileSync(process.argv[2]));
const out = [];
for (const { receipt, file, answer } of cases) {
  const bytes = file === null ? null : Buffer.from(file, "base64");
  const ask = answer === undefined ? null : async () => {
    if (answer === null) throw new Error("down");
    return answer;
  };
  const { verdict } = await checkReceipt(new Uint8Array(Buffer.from(receipt, "base64")), bytes && new Blob([bytes]), ask);
  out.push({ verdict, digest: bytes && hex(new Sha256().update(bytes.subarray(0, 7)).update(bytes.subarray(7)).digest()) });
}
console.log(JSON.stringify(out));
