/** Data that survives a trip through JSON unchanged. What steps exchange, what events hold. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };
