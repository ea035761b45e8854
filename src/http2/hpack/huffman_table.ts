/**
 * The Huffman code of RFC 7541 Appendix B.
 *
 * @module
 */

/** The symbol that ends a string and must never be sent. */
export const EOS = 256;

/** Length in bits of the code of every byte, and of EOS. */
// deno-fmt-ignore
export const CODE_LENGTHS: Uint8Array = Uint8Array.of(

);

/** The code of every byte, and of EOS, in the low bits. */
export const CODES: Uint32Array = new Uint32Array(257);

// The code is canonical: codes of one length are consecutive and ordered by symbol, shorter before longer.
{
  let code = 0;
  for (let length = 1; length <= 30; length++) {
    code *= 2;
    for (let symbol = 0; symbol <= EOS; symbol++) {
      if (CODE_LENGTHS[symbol] === length) CODES[symbol] = code++;
    }
  }
}
