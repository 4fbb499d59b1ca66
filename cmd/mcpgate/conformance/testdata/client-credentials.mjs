// The TypeScript client, with the grant client_credentials: lists the tools of
// a server and calls those that it is told to. Configuration, JSON in the first
// argument: url, issuer, clientId, clientSecret, version (absent: a legacy one),
// calls: [{name, arguments}]. Prints what it got, as JSON.
import { Client, ClientCredentialsProvider, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const { url, issuer, clientId, clientSecret, version, calls } = JSON.parse(process.argv[2]);

// What goes over the wire; the stream that a legacy client keeps is left out.
const wire = [];
async function record(input, init) {
  const response = await fetch(input, init);
  const method = init?.method ?? 'GET';
  const u = new URL(input);
  if (u.href !== url || method !== 'GET') {
    const who = u.origin === issuer ? 'issuer' : 'gateway';
    wire.push(`${who}: ${method} ${u.pathname} ${response.status}`);
  }
  return response;
}

const client = new Client(
  { name: 'conformance', version: '1' },
  version ? { versionNegotiation: { mode: { pin: version } } } : {},
);
const transport = new StreamableHTTPClientTransport(new URL(url), {
  authProvider: new ClientCredentialsProvider({ clientId, clientSecret, expectedIssuer: issuer }),
  fetch: record,
});
await client.connect(transport);
const rounds = [];
for (const call of calls) {
  const { content } = await client.callTool(call);
  const { tools } = await client.listTools();
  rounds.push({ text: content[0].text, tools: tools.map((tool) => tool.name) });
}
await client.close();
console.log(JSON.stringify({ rounds, wire }));
