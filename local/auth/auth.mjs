// The BetterAuth set-up of one site. What stands here about tokens is the contract of docs/guides/sign-in.md:
// a site in production configures the same.
import { randomUUID } from "node:crypto";
import { appendFileSync } from "node:fs";
import { join } from "node:path";

import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { jwt } from "better-auth/plugins";
import Database from "better-sqlite3";

const LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"; // OpenID Connect Back-Channel Logout 1.0

/** E-mail goes into a file, one JSON object a line: no message leaves this machine. */
function outbox(folder) {
  return (message) =>
    appendFileSync(join(folder, "outbox.ndjson"), JSON.stringify({ at: new Date().toISOString(), ...message }) + "\n", {
      mode: 0o600,
    });
}

/** The access-token claims that the API asks for. `sub` is the user's id; `iss`, `aud`, `iat`, `exp` are the plugin's. */
function claims(client) {
  return ({ user, session }) => ({
    jti: randomUUID(), // two calls within one second would otherwise give one and the same token
    sid: session.id,
    azp: client,
    auth_time: Math.floor(new Date(session.createdAt).getTime() / 1000),
    email: user.email,
    email_verified: user.emailVerified,
    name: user.name,
  });
}

/** Tell the API that a session has ended, with a token that only this site can sign; a failure is told, never hidden. */
async function announceLogout(auth, options, session) {
  const payload = {
    iat: Math.floor(Date.now() / 1000), // signJWT sets none of its own
    jti: randomUUID(),
    sub: session.userId,
    sid: session.id,
    events: { [LOGOUT_EVENT]: {} },
  };
  const { token } = await auth.api.signJWT({ body: { payload } });
  const reply = await fetch(`${options.api}/v1/auth/backchannel-logout`, {
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams({ logout_token: token }),
    signal: AbortSignal.timeout(3000),
  });
  if (!reply.ok) throw new Error(`the API answered ${reply.status}`);
}

/** @returns the auth object, its tables made, and the database (to be closed at the end). */
export async function openAuth(options) {
  const database = new Database(join(options.data, "auth.db"));
  database.pragma("journal_mode = WAL");
  const mail = outbox(options.data);
  const auth = betterAuth({
    appName: "Meridian",
    baseURL: options.issuer,
    secret: options.secret,
    database,
    trustedOrigins: options.origins,
    telemetry: { enabled: false },
    logger: { level: "warn" },
    emailAndPassword: { enabled: true, minPasswordLength: 10 },
    emailVerification: {
      sendOnSignUp: true,
      autoSignInAfterVerification: false,
      sendVerificationEmail: async ({ user, url }) => mail({ to: user.email, subject: "Confirm your address", url }),
    },
    // No session.cookieCache: with it, a revoked browser goes on getting tokens for the life of the cache.
    session: { expiresIn: 7 * 24 * 3600, updateAge: 24 * 3600 },
    // Browsers keep cookies per host and not per port: two sites on localhost must not share a name.
    advanced: { cookiePrefix: `meridian-${options.client}`, useSecureCookies: options.issuer.startsWith("https:") },
    rateLimit: { enabled: options.rateLimit },
    databaseHooks: {
      session: {
        delete: {
          after: async (session) => {
            await announceLogout(auth, options, session).catch((error) =>
              console.error(`sign-in: the API was not told that session ${session.id} ended: ${error.message}`),
            );
          },
        },
      },
    },
    plugins: [
      jwt({
        // PyJWT and others do not know the newer name "Ed25519": the classic one is pinned.
        jwks: {
          keyPairConfig: { alg: "EdDSA", crv: "Ed25519" },
          rotationInterval: options.rotateSeconds,
          gracePeriod: options.graceSeconds,
        },
        jwt: {
          issuer: options.issuer,
          audience: options.audience,
          expirationTime: `${options.lifeSeconds}s`, // a bare number would mean a date
          definePayload: claims(options.client),
        },
        disableSettingJwtHeader: true, // or every look at the session would mint a token
      }),
    ],
  });
  const { runMigrations } = await getMigrations(auth.options);
  await runMigrations();
  return { auth, database };
}
