/* SRTP of what is sent (RFC 3711 3.3) by AES-GCM (RFC 7714): the framing here, the cipher OpenSSL's, in the copy that pylibsrtp carries.

   libsrtp looks for a stream in a list, moves a window against replay that only receivers need and asks its cipher by way of three
   tables: half of what a packet costs it. Bytes are the same (tests/telemed/relay/test_seal.py). Other profiles are libsrtp's. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "octets.h"
#include "step.h"

enum { TAG = 16, NONCE = 12, SET_NONCE_LENGTH = 0x9, GET_TAG = 0x10, MEDIAN = 0x8000, WINDOW = 1024 };

struct sent { uint32_t ssrc; uint64_t highest; }; /* of an SSRC: the greatest index so far, 48 bits (RFC 3711 3.3.1) */

struct step_seal {
    const step_crypto *crypto; /* NULL: by libsrtp */
    void *context;
    step_srtp protect;
    void *session;
    uint8_t salt[NONCE];
    uint32_t count, room;
    struct sent *sent;
};

step_seal *step_seal_new(step_srtp protect, void *session) {
    step_seal *k = calloc(1, sizeof *k);
    if (k == NULL) return NULL;
    k->protect = protect;
    k->session = session;
    return k;
}

/* From now on by AES-GCM with this session key of 16 or 32 bytes. 0: it cannot be had, and libsrtp goes on. */
int step_seal_gcm(step_seal *k, const step_crypto *crypto, const uint8_t *key, uint32_t size, const uint8_t *salt) {
    void *context = crypto->make();
    if (context == NULL) return 0;
    if (crypto->begin(context, size == 32 ? crypto->gcm256() : crypto->gcm128(), NULL, NULL, NULL) != 1 ||
        crypto->control(context, SET_NONCE_LENGTH, NONCE, NULL) != 1 || crypto->begin(context, NULL, NULL, key, NULL) != 1) {
        crypto->drop(context);
        return 0;
    }
    memcpy(k->salt, salt, NONCE);
    k->context = context;
    k->crypto = crypto;
    return 1;
}

void step_seal_free(step_seal *k) {
    if (k->crypto != NULL) k->crypto->drop(k->context);
    free(k->sent);
    free(k);
}

static struct sent *sent_of(step_seal *k, uint32_t ssrc) {
    for (uint32_t i = 0; i < k->count; i++)
        if (k->sent[i].ssrc == ssrc) return &k->sent[i];
    if (k->count == k->room) {
        uint32_t room = k->room ? 2 * k->room : 4;
        struct sent *more = realloc(k->sent, room * sizeof *more);
        if (more == NULL) return NULL;
        k->sent = more;
        k->room = room;
    }
    k->sent[k->count].ssrc = ssrc;
    k->sent[k->count].highest = 0;
    return &k->sent[k->count++];
}

/* The index that a sequence number means (RFC 3711 3.3.1, appendix A); as libsrtp, none before the first round. */
static uint64_t index_of(uint64_t highest, uint32_t sequence) {
    uint64_t rounds = highest >> 16;
    uint32_t last = highest & 0xFFFF;
    if (highest <= MEDIAN) return sequence;
    if (last < MEDIAN && sequence > last + MEDIAN)
        rounds--;
    else if (last >= MEDIAN && sequence < last - MEDIAN)
        rounds++;
    return rounds << 16 | sequence;
}

/* As srtp_protect: an RTP packet in place, with room for the tag. 0 when it is done. */
int step_protect(step_seal *k, void *packet, int *length) {
    if (k->crypto == NULL) return k->protect(k->session, packet, length);
    uint8_t *p = packet, nonce[NONCE];
    uint32_t size = (uint32_t)*length, head = size < 12 ? size + 1 : 12 + 4u * (p[0] & 15);
    if (head + 4 <= size && p[0] & 16) head += 4 + 4 * get16(p + head + 2);
    else if (p[0] & 16) return 1;
    if (head > size) return 1;
    struct sent *sent = sent_of(k, get32(p + 8));
    if (sent == NULL) return 1;
    uint32_t sequence = get16(p + 2);
    uint64_t index = index_of(sent->highest, sequence);
    if (index >> 48 || (index < sent->highest && sent->highest - index >= WINDOW)) return 1; /* a nonce would come twice, or is too old */
    if (index > sent->highest) sent->highest = index;
    put16(nonce, 0);
    memcpy(nonce + 2, p + 8, 4);
    put32(nonce + 6, (uint32_t)(index >> 16));
    put16(nonce + 10, sequence);
    for (int i = 0; i < NONCE; i++) nonce[i] ^= k->salt[i];
    const step_crypto *c = k->crypto;
    int n, body = (int)(size - head);
    if (c->begin(k->context, NULL, NULL, NULL, nonce) != 1 || c->update(k->context, NULL, &n, p, (int)head) != 1 ||
        (body && c->update(k->context, p + head, &n, p + head, body) != 1) || c->end(k->context, p + size, &n) != 1 ||
        c->control(k->context, GET_TAG, TAG, p + size) != 1)
        return 1;
    *length = (int)size + TAG;
    return 0;
}
