const shown = "[secret]";

/**
 * A secret value that cannot be printed, serialised or inspected. `use` is the only way in, and
 * `test/architecture.test.ts` allows it in `delivery/`, `engines/`, `vaults/` and `crypto/` only.
 */
export class Secret {
  #bytes: Buffer;

  private constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Takes a copy: the caller stays responsible for its own. Text is encoded as UTF-8. */
  static of(value: Uint8Array | string): Secret {
    return new Secret(Buffer.from(value as string));
  }

  /** The bytes are valid until `destroy`; they must not be kept beyond the call. */
  use<T>(work: (bytes: Buffer) => T): T {
    return work(this.#bytes);
  }

  /** Overwrites this copy. Copies that the runtime or a driver made are out of reach. */
  destroy(): void {
    this.#bytes.fill(0);
    this.#bytes = Buffer.alloc(0);
  }

  toString(): string {
    return shown;
  }

  toJSON(): string {
    return shown;
  }

  [Symbol.toPrimitive](): string {
    return shown;
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return shown;
  }
}
