/* varint.h: unsigned numbers in as few bytes as they need (LEB128: 7 bits a byte, the low ones
 * first; the top bit says that another byte follows).
 *
 * A number has one form: what another encoder could have made longer is refused. (Protobuf's
 * messages may be longer; they have their own reader.)
 * Bounds: VARINT_BYTES_MAX a number. Thread: any.
 */
#ifndef BASE_VARINT_H
#define BASE_VARINT_H

#include <stddef.h>
#include <stdint.h>

enum { VARINT_BYTES_MAX = 10 };

/* How many bytes varint_put writes: one for each 7 bits that are used, one for 0. Up to 64 bits,
 * 9/64 rounds as 1/7 does, without a division. */
static inline size_t varint_size(uint64_t number)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(number | 1);
    return (bits * 9 + 64) / 64;
}

/* Behind what was written. */
static inline uint8_t *varint_put(uint8_t *to, uint64_t number)
{
    while (number >= 0x80) {
        *to++ = (uint8_t)(number | 0x80);
        number >>= 7;
    }
    *to++ = (uint8_t)number;
    return to;
}

/* Behind the number that begins at `at`. NULL: it does not end before `end`, is longer than it
 * need be, or has more than 64 bits; then *ret_number is as it was. */
static inline const uint8_t *varint_get(const uint8_t *at, const uint8_t *end, uint64_t *ret_number)
{
    if (at < end && *at < 0x80) { /* most are small */
        *ret_number = *at;
        return at + 1;
    }
    uint64_t number = 0;
    for (unsigned shift = 0; at < end && shift < 64; shift += 7) {
        uint64_t byte = *at++;
        number |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            if ((byte == 0 && shift > 0) || (shift == 63 && byte > 1))
                return NULL;
            *ret_number = number;
            return at;
        }
    }
    return NULL;
}

#endif
