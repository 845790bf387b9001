/**
 * A set whose members know their neighbours. Adding and deleting cost two assignments each and allocate nothing. A `Set` makes
 * a new table after every few of them, and each table that is gone keeps the next one alive, with all that was in it, until
 * the next full garbage collection: with a member or two for every request two thirds of what outlived a request.
 *
 * @module
 */

/** What a member has to have; only the set that it is in writes it. A member is in one set at most. */
export interface Linked<T> {
  isLinked: boolean;
  previous: T | undefined;
  next: T | undefined;
}

/** See the module. */
export class LinkedSet<T extends Linked<T>> {
  #first: T | undefined;
  #last: T | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The one that is in here for longest. */
  get oldest(): T | undefined {
    return this.#last;
  }

  add(member: T): void {
    if (member.isLinked) return;
    member.isLinked = true;
    member.next = this.#first;
    if (this.#first) this.#first.previous = member;
    else this.#last = member;
    this.#first = member;
    this.#size++;
  }

  /** False when it is not in here. */
  delete(member: T): boolean {
    if (!member.isLinked) return false;
    const { previous, next } = member;
    if (previous) previous.next = next;
    else this.#first = next;
    if (next) next.previous = previous;
    else this.#last = previous;
    member.isLinked = false;
    member.previous = member.next = undefined; // what is gone must not keep what came later
    this.#size--;
    return true;
  }

  /** Those that `isWanted`, as they are now. */
  those(isWanted: (member: T) => boolean): readonly T[] {
    const found: T[] = [];
    for (let member = this.#first; member; member = member.next) if (isWanted(member)) found.push(member);
    return found;
  }
}
