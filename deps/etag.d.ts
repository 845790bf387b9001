// Declarations of `@std/http/etag` 1.x for what `etag.ts` re-exports.
export declare function eTag(entity: string | Uint8Array, options?: { weak?: boolean }): Promise<string>;
export declare function ifNoneMatch(value: string | null, etag: string | undefined): boolean;
