/** Which connections of this process are told to send small pieces at once: without that, each may wait 40 ms. */

/** See {@linkcode watchNoDelay}. */
export interface NoDelayWatch extends Disposable {
  /** Local ports of those that were told so. */
  readonly ports: readonly number[];
}

/** Looks at all connections of the runtime until it is disposed. */
export async function watchNoDelay(): Promise<NoDelayWatch> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using conn = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const prototype: Deno.TcpConn = Object.getPrototypeOf(conn);
  const real = prototype.setNoDelay;
  const ports: number[] = [];
  prototype.setNoDelay = function (this: Deno.TcpConn, isOn = true) {
    if (isOn) ports.push((this.localAddr as Deno.NetAddr).port);
    real.call(this, isOn);
  };
  return { ports, [Symbol.dispose]: () => prototype.setNoDelay = real };
}
