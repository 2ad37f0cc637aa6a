/* bytes.h: fixed-width integers at any address, in a stated byte order (I12).
 *
 * Little-endian in our own formats; big-endian where bytes must sort like numbers.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define BYTES_ACCESSORS(bits, order, to_host, to_wire)                      \
    static inline uint##bits##_t get_##order##bits(const uint8_t *from)     \
    {                                                                       \
        uint##bits##_t wire;                                                \
        memcpy(&wire, from, sizeof wire);                                   \
        return to_host(wire);                                               \
    }                                                                       \
    static inline void put_##order##bits(uint8_t *to, uint##bits##_t value) \
    {                                                                       \
        uint##bits##_t wire = to_wire(value);                               \
        memcpy(to, &wire, sizeof wire);                                     \
    }

BYTES_ACCESSORS(16, le, le16toh, htole16)
BYTES_ACCESSORS(32, le, le32toh, htole32)
BYTES_ACCESSORS(64, le, le64toh, htole64)
BYTES_ACCESSORS(16, be, be16toh, htobe16)
BYTES_ACCESSORS(32, be, be32toh, htobe32)
BYTES_ACCESSORS(64, be, be64toh, htobe64)

#undef BYTES_ACCESSORS

#endif
