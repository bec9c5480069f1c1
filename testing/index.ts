/** Contract suites for people who write an adapter of their own: an engine, a vault. */
export { engineContract, orderFor } from "./engine-contract.ts";
export { vaultContract } from "./vault-contract.ts";
