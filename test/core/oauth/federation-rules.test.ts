import { describe, expect, it } from "vitest";
import { oauth } from "../../../src/config/oauth.ts";
import { SetupError } from "../../../src/core/setup-error.ts";
import { readRules } from "../../../src/oauth/federation-rules.ts";

const ours = "https://broker.example";
const github = "https://token.actions.githubusercontent.com";
const read = (...rules: readonly object[]) => readRules(oauth.parse({ federation: rules }).federation, ours);
const rule = (more: object) => ({ issuer: "https://ci.example", claims: { repository: "acme/shop" }, agent: "ci", ...more });

describe("rules of federation", () => {
  it("are for our issuer unless they say otherwise", () => {
    expect(read(rule({}))[0]?.audience).toBe(ours);
    expect(read(rule({ audience: "leasehold" }))[0]?.audience).toBe("leasehold");
  });

  it.each([
    ["names no claim", { claims: {} }],
    ["names only claims about the token", { claims: { iss: "https://ci.example", aud: ours } }],
    ["says nothing of those that it names", { claims: { repository: "**", ref: ["refs/heads/main", "*"] } }],
    ["trusts our own tokens", { issuer: ours }],
    ["has no name for the agent", { agent: "CI {{repository}}" }],
    ["lets in all of GitHub by a branch", { issuer: github, claims: { ref: "refs/heads/main" } }],
    ["lets in all of GitHub by a star", { issuer: github, claims: { repository: "*/shop" } }],
    ["lets in owners that begin alike", { issuer: github, claims: { repository: "acme*/shop" } }],
    ["lets in owners by one of two patterns", { issuer: github, claims: { repository: ["acme/shop", "*/shop"] } }],
    ["lets in all of GitHub by the kind of subject", { issuer: github, claims: { sub: "repo:*" } }],
    ["lets in owners that begin alike, by subject", { issuer: github, claims: { sub: "repo:acme*:ref:refs/heads/main" } }],
    ["lets in all of GitLab", { issuer: "https://gitlab.com", claims: { ref: "main", ref_protected: "true" } }],
    ["lets in all of GitLab, with a slash", { issuer: "https://gitlab.com/", claims: { ref: "main" } }],
  ])("one that %s is refused at start", (_what, more) => {
    expect(() => read(rule(more))).toThrow(SetupError);
    expect(() => read(rule(more))).toThrow(/oauth\.federation\[0\]/);
  });

  it.each([
    { repository: "acme/*", ref: "refs/heads/*" },
    { repository_owner: "acme", ref: "refs/heads/main" },
    { repository_owner_id: "12345" },
    { sub: "repo:acme/shop:*" },
    { job_workflow_ref: "acme/workflows/.github/workflows/deploy.yml@*" },
  ])("one that says whose it is may be: %j", (claims) => {
    expect(read(rule({ issuer: github, claims }))).toHaveLength(1);
  });

  it("two for one agent say the same of it", () => {
    const a = { agent: "ci-{{repository}}", roles: ["deploying"] };
    const b = { agent: "ci-{{repository}}", roles: ["testing"], claims: { repository: "acme/shop", ref: "refs/pull/**" } };
    expect(() => read(rule(a), rule(b))).toThrow(/federation\[0\] and oauth\.federation\[1\] could name the same agent/);
    expect(read(rule(a), rule({ ...b, agent: "pr-{{repository}}" }))).toHaveLength(2);
    expect(read(rule(a), rule({ ...b, roles: ["deploying"] }))).toHaveLength(2);
  });

  it("of two issuers meet in an agent only when its name is written out", () => {
    const other = { issuer: "https://other.example" };
    expect(() => read(rule({ agent: "ci-{{repository}}" }), rule({ ...other, agent: "ci-{{repository}}" }))).toThrow(SetupError);
    expect(() => read(rule({ agent: "ci-{{repository}}" }), rule({ ...other, agent: "ci-x" }))).toThrow(SetupError);
    expect(read(rule({ agent: "ci" }), rule({ ...other, agent: "ci" }))).toHaveLength(2);
  });
});
