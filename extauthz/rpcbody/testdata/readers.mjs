// Says what JSON.parse takes each message for; see README.md. The copies are
// those of a server that spreads or assigns what it parsed.
import { readFileSync } from "node:fs";

const copy = (o) => Object.assign({}, o);

for (const line of readFileSync(process.argv[2], "latin1").trimEnd().split("\n")) {
  const m = copy(JSON.parse(Buffer.from(line, "base64").toString("utf8")));
  const p = copy(m.params);
  const r = copy(p.ref);
  const n = copy(p.notifications);
  console.log(JSON.stringify({
    method: m.method,
    id: m.id === undefined || m.id === null ? null : String(m.id),
    name: p.name,
    uri: p.uri,
    taskId: p.taskId,
    version: p.protocolVersion,
    metaVersion: copy(p._meta)["io.modelcontextprotocol/protocolVersion"],
    refType: r.type,
    refName: r.name,
    refURI: r.uri,
    resources: n.resourceSubscriptions ?? [],
    taskIds: n.taskIds ?? [],
  }));
}
