/* Binding requests of a peer that is connected, answered in C: what asks for consent every second or two (RFC 7675).

   Only what changes nothing: from an address that is known to be the peer's, by its present names, signed, and nominating none but the
   address in use. All else, and all that is wrong, is Python's (wire/stun.py, Peer.on_stun). */

#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "octets.h"
#include "step.h"

enum { USERNAME = 0x0006, INTEGRITY = 0x0008, USE_CANDIDATE = 0x0025, FINGERPRINT = 0x8028, CONTROLLED = 0x8029, LARGEST = 512 };

static uint32_t left(uint32_t v, int n) { return v << n | v >> (32 - n); }

/* SHA-1 (FIPS 180-4, 6.1), which RFC 8489 asks for. */

static void block(uint32_t *h, const uint8_t *p) {
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++) w[i] = get32(p + 4 * i);
    for (int i = 16; i < 80; i++) w[i] = left(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f, k;
        if (i < 20) f = (b & c) | (~b & d), k = 0x5A827999;
        else if (i < 40) f = b ^ c ^ d, k = 0x6ED9EBA1;
        else if (i < 60) f = (b & c) | (b & d) | (c & d), k = 0x8F1BBCDC;
        else f = b ^ c ^ d, k = 0xCA62C1D6;
        uint32_t t = left(a, 5) + f + e + k + w[i];
        e = d;
        d = c;
        c = left(b, 30);
        b = a;
        a = t;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

/* Of one block `first` and what follows. */
static void sha1(const uint8_t *first, const uint8_t *data, uint32_t size, uint8_t *digest) {
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0}, at = 0;
    uint8_t last[128] = {0};
    block(h, first);
    for (; at + 64 <= size; at += 64) block(h, data + at);
    memcpy(last, data + at, size - at);
    last[size - at] = 0x80;
    uint32_t end = size - at + 9 > 64 ? 128 : 64;
    put32(last + end - 4, (size + 64) << 3);
    block(h, last);
    if (end == 128) block(h, last + 64);
    for (int i = 0; i < 5; i++) put32(digest + 4 * i, h[i]);
}

/* HMAC-SHA1 (RFC 2104) with a key of 64 octets at most, of less than 256 MiB. */
void step_sha1(const uint8_t *key, uint32_t key_size, const uint8_t *data, uint32_t size, uint8_t *digest) {
    uint8_t pad[64], inner[20];
    memset(pad, 0x36, sizeof pad);
    for (uint32_t i = 0; i < key_size; i++) pad[i] ^= key[i];
    sha1(pad, data, size, inner);
    for (uint32_t i = 0; i < sizeof pad; i++) pad[i] ^= 0x36 ^ 0x5C;
    sha1(pad, inner, sizeof inner, digest);
}

/* CRC-32 (ISO 3309), 4 bits at a time. */
static uint32_t crc32(const uint8_t *p, uint32_t size) {
    static const uint32_t table[16] = {
        0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
        0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
    };
    uint32_t c = 0xFFFFFFFF;
    for (uint32_t i = 0; i < size; i++) {
        c ^= p[i];
        c = c >> 4 ^ table[c & 15];
        c = c >> 4 ^ table[c & 15];
    }
    return ~c;
}

/* Length of the answer (92 octets of room at least); 0: the request is Python's. `from`: sockaddr_storage. */
uint32_t step_stun(const step_endpoint *e, const uint8_t *request, uint32_t size, const void *from, uint8_t *answer) {
    const struct sockaddr_in *in = from;
    uint8_t signed_part[LARGEST], digest[20], differs = 0;
    uint32_t at = 20, integrity = 0, named = 0, printed = 0;
    if (in->sin_family != AF_INET || !e->user_size || size < 20 || size > LARGEST || size % 4) return 0;
    if (get16(request) != 1 || get16(request + 2) != size - 20 || get32(request + 4) != 0x2112A442) return 0;
    while (at < size) {
        if (at + 4 > size || printed) return 0;
        uint32_t name = get16(request + at), length = get16(request + at + 2), next = at + 4 + ((length + 3) & ~3u);
        if (next > size) return 0;
        const uint8_t *value = request + at + 4;
        if (integrity && name != FINGERPRINT) return 0;
        if (name == USERNAME) {
            if (named || length != e->user_size || memcmp(value, e->user, length) != 0) return 0;
            named = 1;
        } else if (name == INTEGRITY) {
            if (length != 20) return 0;
            integrity = at;
        } else if (name == FINGERPRINT) {
            if (length != 4 || get32(value) != (crc32(request, at) ^ 0x5354554E)) return 0;
            printed = 1;
        } else if (name == USE_CANDIDATE) {
            if (e->by_tcp || e->address_size < sizeof *in || ((const struct sockaddr_in *)e->address)->sin_family != AF_INET ||
                ((const struct sockaddr_in *)e->address)->sin_port != in->sin_port ||
                memcmp(&((const struct sockaddr_in *)e->address)->sin_addr, &in->sin_addr, 4) != 0)
                return 0;
        } else if (name == CONTROLLED)
            return 0;
        at = next;
    }
    if (!named || !integrity) return 0;
    memcpy(signed_part, request, integrity);
    put16(signed_part + 2, integrity + 24 - 20);
    step_sha1(e->password, e->password_size, signed_part, integrity, digest);
    for (int i = 0; i < 20; i++) differs |= digest[i] ^ request[integrity + 4 + (uint32_t)i];
    if (differs) return 0;

    put16(answer, 0x0101);
    memcpy(answer + 4, request + 4, 16);
    put32(answer + 20, 0x00200008);
    put16(answer + 24, 1);
    put16(answer + 26, get16((const uint8_t *)&in->sin_port) ^ 0x2112);
    put32(answer + 28, get32((const uint8_t *)&in->sin_addr) ^ 0x2112A442);
    put16(answer + 2, 12 + 24);
    step_sha1(e->password, e->password_size, answer, 32, digest);
    put32(answer + 32, 0x00080014);
    memcpy(answer + 36, digest, 20);
    put16(answer + 2, 12 + 24 + 8);
    put32(answer + 56, 0x80280004);
    put32(answer + 60, crc32(answer, 56) ^ 0x5354554E);
    return 64;
}
