/**
 * Asking the server for descriptors of the sockets that it holds.
 *
 * @module
 */
import type { TcpAddress } from "../transport/address.ts";
import type { Loan } from "../transport/loan.ts";
import type { ServerMessage, WorkerMessage } from "./control.ts";

/** What a worker has asked for and not got yet. */
export class Loans {
  readonly #say: (message: WorkerMessage) => void;
  readonly #asked = new Map<number, (answer: Lent) => void>();
  #last = 0;

  /** @param say Says something to the server. */
  constructor(say: (message: WorkerMessage) => void) {
    this.#say = say;
  }

  /**
   * A descriptor of the socket that is held at an address.
   *
   * @returns `null` if none can be lent: a socket is to be bound beside it.
   * @throws {Error} Why there is none.
   */
  async borrow(bound: TcpAddress): Promise<Loan | null> {
    const id = ++this.#last;
    const { promise, resolve } = Promise.withResolvers<Lent>();
    this.#asked.set(id, resolve);
    this.#say({ kind: "borrow", id, bound });
    const { loan, problem } = await promise;
    if (problem !== null) throw new Error(problem);
    return loan;
  }

  /** The server has answered. */
  settle(answer: Lent): void {
    this.#asked.get(answer.id)?.(answer);
    this.#asked.delete(answer.id);
  }
}

type Lent = ServerMessage & { kind: "lent" };
