// A message and a batch through node-hl7-client; the port is the first argument.
import { createRequire } from "node:module";

const { Client, Message, Batch } = createRequire(import.meta.url)("node-hl7-client");

const message = (control) =>
  new Message({
    text: [
      `MSH|^~\\&|NODE|H1|REN|R1|20231114220001||ADT^A08^ADT_A01|${control}|P|2.5|||||||UNICODE UTF-8`,
      "EVN||20231114220000",
      "PID|||9999013^^^^PI||山田^太郎^^^^^L^I",
      "PV1||O",
    ].join("\r"),
  });

const answers = [];
let told;
const client = new Client({ host: "127.0.0.1" });
const outbound = client.createConnection({ port: Number(process.argv[2]) }, async (response) => {
  answers.push(response.getMessage().toString());
  told();
});
for (const next of [message("n1"), message("n2")]) {
  const answered = new Promise((resolve) => (told = resolve));
  await outbound.sendMessage(next);
  await answered;
}
const batch = new Batch({ text: undefined });
batch.start();
batch.add(message("n3"));
batch.end();
const answered = new Promise((resolve) => (told = resolve));
await outbound.sendMessage(batch);
await answered;
console.log(JSON.stringify(answers));
await outbound.close();
process.exit(0);
