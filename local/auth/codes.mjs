// How the command line gets a token without ever seeing a password or a session cookie: the browser signs in, confirms,
// and hands over a code; the command line redeems it with the verifier that only it knows (RFC 7636, S256).
import { createHash, randomBytes, randomUUID } from "node:crypto";

const LIFE_MS = 60_000;
const OPEN_CODES = 1_000;
const CLI = "cli";

export class CodeDesk {
  #auth;
  #open = new Map(); // code -> {challenge, session, user, expires}; insertion order is order of expiry

  constructor(auth) {
    this.#auth = auth;
  }

  /** A code for the signed-in person, valid once and for a minute. */
  issue({ session, user }, { challenge }) {
    if (typeof challenge !== "string" || !/^[A-Za-z0-9_-]{43}$/.test(challenge))
      return [400, { message: "challenge must be the base64url SHA-256 of the verifier (43 characters)" }];
    this.#forget();
    const code = randomBytes(32).toString("base64url");
    this.#open.set(code, { challenge, session, user, expires: Date.now() + LIFE_MS });
    return [200, { code, expires_in: LIFE_MS / 1000 }];
  }

  /** The token for the code; a code that was tried is gone, right or wrong. */
  async redeem({ code, verifier }) {
    const entry = this.#open.get(code);
    this.#open.delete(code);
    if (!entry || entry.expires < Date.now()) return [400, { message: "the code is unknown, used or older than a minute" }];
    const shown = createHash("sha256").update(String(verifier)).digest("base64url");
    if (shown !== entry.challenge) return [400, { message: "the verifier does not fit the code" }];
    const { token } = await this.#auth.api.signJWT({
      body: {
        payload: {
          iat: Math.floor(Date.now() / 1000),
          sub: entry.user.id,
          jti: randomUUID(),
          sid: entry.session.id,
          azp: CLI,
          auth_time: Math.floor(new Date(entry.session.createdAt).getTime() / 1000),
          session_exp: Math.floor(new Date(entry.session.expiresAt).getTime() / 1000),
          email: entry.user.email,
          email_verified: entry.user.emailVerified,
          name: entry.user.name,
        },
      },
    });
    return [200, { token }];
  }

  #forget() {
    const now = Date.now();
    for (const [code, entry] of this.#open) {
      if (entry.expires > now && this.#open.size < OPEN_CODES) break;
      this.#open.delete(code);
    }
  }
}
