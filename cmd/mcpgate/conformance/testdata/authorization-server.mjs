// An OAuth 2.1 authorization server with one user, who is always signed in and
// grants what is asked. Configuration, JSON in the first argument:
//   issuer     http://127.0.0.1:<port>, where it listens
//   resources  by resource indicator (RFC 8707), the scopes it has
//   clients    registered ones; others may register themselves (RFC 7591)
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import Provider, { errors } from 'oidc-provider';

const { issuer, resources, clients } = JSON.parse(process.argv[2]);

const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });

const provider = new Provider(issuer, {
  clients,
  jwks: { keys: [{ ...key, alg: 'RS256', use: 'sig', kid: randomUUID() }] },
  cookies: { keys: [randomUUID()] },
  pkce: { required: () => true },
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(_ctx, resource) {
        if (!Object.hasOwn(resources, resource)) throw new errors.InvalidTarget();
        return { scope: resources[resource], audience: resource, accessTokenFormat: 'jwt' };
      },
    },
  },
});

async function interact(req, res) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(req, res);
  if (prompt.name === 'login') {
    return provider.interactionFinished(req, res, { login: { accountId: 'alice' } });
  }
  const grant = (grantId && await provider.Grant.find(grantId))
    || new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  for (const [resource, scopes] of Object.entries(prompt.details.missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(' '));
  }
  return provider.interactionFinished(req, res, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
}

const callback = provider.callback();
createServer((req, res) => {
  if (!req.url.startsWith('/interaction/')) return callback(req, res);
  return interact(req, res).catch((err) => {
    console.error(err);
    res.writeHead(500).end();
  });
}).listen(new URL(issuer).port, '127.0.0.1');
