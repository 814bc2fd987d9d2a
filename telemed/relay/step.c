/* The forwarding step in C: the common packet, from datagram to every subscriber, without Python.

   It does what forward.py does for a packet that comes in order, of a known stream, to subscribers by UDP, and for what comes
   beside it from a peer whose link holds (feedback.c, stun.c). All else (DTLS, gaps, late and resent packets, switches of layers) is handed back to forward.py as an event, with nothing of it done yet,
   so that the rules stand there once. State is shared: the objects of compiled.py are views of these structures.

   libsrtp comes as function pointers: the one that pylibsrtp carries. */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "octets.h"
#include "step.h"

enum { BUCKETS = 8192, BUFFER = 2048, DATAGRAM = 1800, TAKEN = 32, QUEUED = 64, BURST = 16, KEPT = 4, READY = 16, LONGEST = 1000000 /* ms */ };

struct key { uint16_t family, port; uint32_t scope; uint8_t address[16]; };
struct place { struct place *next; struct key key; step_endpoint *endpoint; };
struct picture { uint8_t there, layer, wide; uint16_t number; int tl0; };
struct layer { uint8_t there, spatial, temporal, begins, up, end; };

/* As it came; the payload stays where it was received. */
struct packet {
    const uint8_t *payload;
    uint32_t size, rtp, newest; /* newest: where the newest block of redundant sound begins, 0: there is none */
    uint16_t sequence;
    uint8_t second, level, newest_kind;
    struct picture picture;
    struct layer layer;
    double now;
};

struct queued { step_forwarder *forwarder; step_endpoint *to; uint32_t end, size; };

struct step {
    int fd, reports; /* the latter -1 where they come by the first one (sockets.py) */
    step_srtp unprotect, unprotect_rtcp, protect_rtcp;
    struct place *places[BUCKETS];
    int taken, at;
    struct mmsghdr in[TAKEN], out[QUEUED];
    struct iovec in_parts[TAKEN], out_parts[QUEUED];
    struct sockaddr_storage from[TAKEN];
    uint8_t in_data[TAKEN][BUFFER], out_data[QUEUED][BUFFER];
    struct queued queued[QUEUED];
    int waiting;
    step_stream *stream; /* whose packets are in `burst`, not yet sent on */
    uint32_t packets;
    struct packet burst[BURST];
    uint64_t unsent;
    double now;    /* when the datagrams at hand were taken, or the report at hand came */
    double looked; /* when the socket was looked at last */
    double pace;   /* s between two such times at least */
    double settled, wall; /* when reports were taken last, and what that clock is less the wall clock */
    int stamped;   /* those at hand are such */
    int full;      /* there was more than could be taken */
    int batch;     /* datagrams before other work of the event loop gets its turn */
    _Alignas(struct cmsghdr) char stamps[TAKEN][CMSG_SPACE(sizeof(struct timespec))];
};

/* s: as in sockets.py; between two looks at reports at most, as TICK of relay.py; and at least, where media is at hand anyway */
static const double DELAYED = 1.0, SETTLE = 0.025, EARLIER = 0.02;

static double seconds(const struct timespec *t) { return (double)t->tv_sec + (double)t->tv_nsec * 1e-9; }

static double clock_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return seconds(&t);
}

static double monotonic(void) { return clock_of(CLOCK_MONOTONIC); }

/* What the monotonic clock is less the wall clock, s; read anew where the thread was stopped between the two. */
static double apart(void) {
    for (int tries = 0;; tries++) {
        double before = monotonic(), wall = clock_of(CLOCK_REALTIME);
        if (monotonic() - before < 0.0002 || tries == 3) return before - wall;
    }
}

step *step_new(int fd, int reports, step_srtp unprotect, step_srtp unprotect_rtcp, step_srtp protect_rtcp, double pace, int batch) {
    step *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->fd = fd;
    s->reports = reports;
    s->unprotect = unprotect;
    s->unprotect_rtcp = unprotect_rtcp;
    s->protect_rtcp = protect_rtcp;
    s->pace = pace;
    s->batch = batch;
    for (int i = 0; i < TAKEN; i++) {
        s->in_parts[i].iov_base = s->in_data[i];
        s->in_parts[i].iov_len = DATAGRAM;
        s->in[i].msg_hdr.msg_iov = &s->in_parts[i];
        s->in[i].msg_hdr.msg_iovlen = 1;
        s->in[i].msg_hdr.msg_name = &s->from[i];
    }
    for (int i = 0; i < QUEUED; i++) {
        s->out_parts[i].iov_base = s->out_data[i];
        s->out[i].msg_hdr.msg_iov = &s->out_parts[i];
        s->out[i].msg_hdr.msg_iovlen = 1;
    }
    return s;
}

uint64_t step_unsent(const step *s) { return s->unsent; }

void step_free(step *s) {
    for (int i = 0; i < BUCKETS; i++)
        for (struct place *p = s->places[i], *next; p != NULL; p = next) {
            next = p->next;
            free(p);
        }
    free(s);
}

/* Who is where. */

static int key_of(const struct sockaddr_storage *address, struct key *key) {
    memset(key, 0, sizeof *key);
    key->family = address->ss_family;
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        key->port = in->sin_port;
        memcpy(key->address, &in->sin_addr, 4);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)address;
        key->port = in->sin6_port;
        key->scope = in->sin6_scope_id;
        memcpy(key->address, &in->sin6_addr, 16);
    } else
        return 0;
    return 1;
}

static struct place **find(step *s, const struct key *key) {
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    const uint8_t *bytes = (const uint8_t *)key;
    for (size_t i = 0; i < sizeof *key; i++) h = (h ^ bytes[i]) * 1099511628211u;
    struct place **p = &s->places[(h ^ h >> 32) & (BUCKETS - 1)];
    while (*p != NULL && memcmp(&(*p)->key, key, sizeof *key) != 0) p = &(*p)->next;
    return p;
}

int step_know(step *s, const void *address, step_endpoint *endpoint) {
    struct key key;
    if (!key_of(address, &key)) return 0;
    struct place **p = find(s, &key);
    if (*p == NULL) {
        if ((*p = calloc(1, sizeof **p)) == NULL) return 0;
        (*p)->key = key;
    }
    (*p)->endpoint = endpoint;
    return 1;
}

void step_forget(step *s, const void *address) {
    struct key key;
    if (!key_of(address, &key)) return;
    struct place **p = find(s, &key), *gone = *p;
    if (gone != NULL) {
        *p = gone->next;
        free(gone);
    }
}

/* What Python owns views of. */

step_endpoint *step_endpoint_new(void) {
    step_endpoint *e = calloc(1, sizeof *e);
    if (e != NULL && (e->noted = calloc(STEP_NOTED, sizeof *e->noted)) == NULL) {
        free(e);
        return NULL;
    }
    return e;
}

void step_endpoint_free(step_endpoint *e) {
    free(e->noted);
    free(e);
}

int step_stream_add(step_endpoint *e, step_stream *stream) {
    if (e->stream_count == STEP_STREAMS) return 0;
    e->streams[e->stream_count++] = stream;
    return 1;
}

void step_stream_drop(step_endpoint *e, step_stream *stream) {
    for (uint32_t i = 0; i < e->stream_count; i++)
        if (e->streams[i] == stream) e->streams[i--] = e->streams[--e->stream_count];
}

step_stream *step_stream_new(uint32_t slots) {
    step_stream *stream = calloc(1, sizeof *stream);
    if (stream != NULL && (stream->cache = calloc(slots, sizeof *stream->cache)) == NULL) {
        free(stream);
        return NULL;
    }
    if (stream != NULL) stream->mask = slots - 1;
    return stream;
}

void step_stream_free(step_stream *stream) {
    for (uint32_t i = 0; i <= stream->mask; i++) free(stream->cache[i]);
    free(stream->cache);
    free(stream->forwarders);
    free(stream);
}

int step_stream_to(step_stream *stream, step_forwarder **forwarders, uint32_t count) {
    step_forwarder **copy = NULL;
    if (count && (copy = malloc(count * sizeof *copy)) == NULL) return 0;
    if (count) memcpy(copy, forwarders, count * sizeof *copy);
    free(stream->forwarders);
    stream->forwarders = copy;
    stream->forwarder_count = count;
    return 1;
}

/* A packet kept for resending: head of 12 bytes and payload. An earlier one's memory is used again where it fits. */
int step_keep(step_stream *stream, uint32_t slot, const uint8_t *head, const uint8_t *payload, uint32_t size) {
    step_kept *kept = stream->cache[slot];
    if (kept == NULL || kept->room < size + 12) {
        free(kept);
        stream->cache[slot] = kept = malloc(sizeof *kept + size + 12);
        if (kept == NULL) return 0;
        kept->room = (uint16_t)(size + 12);
    }
    kept->size = (uint16_t)(size + 12);
    memcpy(kept->data, head, 12);
    memcpy(kept->data + 12, payload, size);
    return 1;
}

/* Sending. */

static void flush(step *s) {
    int at = 0;
    while (at < s->waiting) {
        int sent = sendmmsg(s->fd, s->out + at, (unsigned)(s->waiting - at), MSG_DONTWAIT);
        if (sent > 0) {
            at += sent;
            continue;
        }
        if (sent < 0 && errno == EINTR) continue;
        /* The kernel did not take this one: it counts as not sent, and the others go on. */
        struct queued *q = &s->queued[at++];
        s->unsent++;
        q->to->sent_packets--;
        q->to->sent_bytes -= q->end;
        q->forwarder->packets--;
        q->forwarder->octets -= q->size;
    }
    s->waiting = 0;
}

/* A datagram that does not wait for others. 0: sent; 2: not taken by the kernel. */
static int leave(step *s, const uint8_t *data, size_t size, const void *address, socklen_t address_size) {
    flush(s); /* order is kept */
    if (sendto(s->fd, data, size, MSG_DONTWAIT, address, address_size) >= 0) return 0;
    s->unsent++;
    return 2;
}

/* A compound packet to a peer by UDP, encrypted. 0: sent; 1: refused by libsrtp or too long; 2: not taken by the kernel. */
int step_send_rtcp(step *s, step_endpoint *to, const uint8_t *packet, uint32_t size) {
    uint8_t data[BUFFER];
    int length = (int)size;
    if (to->tx == NULL || size > BUFFER - 40) return 1;
    memcpy(data, packet, size);
    if (s->protect_rtcp(to->tx, data, &length)) return 1;
    return leave(s, data, (size_t)length, to->address, to->address_size);
}

/* Feedback to each of these that sent something, which happens ten times a second; `turns` gets the places of those that Python is to look
   at: what they are due for, a link that has fallen silent (s), or feedback that is not plain sailing. How many those are. */

static const double SILENT = 0.6;

uint32_t step_round(step *s, step_endpoint *const *endpoints, uint32_t count, double now, uint32_t *turns) {
    uint8_t out[1500];
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        step_endpoint *e = endpoints[i];
        const step_link *l = e->link;
        if (l != NULL && l->calm && now - l->heard > SILENT && e->history_last != NULL && *e->history_last > l->heard) e->due = 0.0;
        int size = now >= e->due ? -1 : 0;
        if (!size && e->noted_count) {
            int plain = e->builder != NULL && e->tx != NULL && !e->by_tcp && e->stream_count;
            size = plain ? step_build(e->builder, e, e->report_ssrc, e->streams[0]->ssrc, out) : -1;
        }
        if (size < 0)
            turns[found++] = i;
        else if (size)
            step_send_rtcp(s, e, out, (uint32_t)size);
    }
    return found;
}

static void remember(step_endpoint *to, uint16_t counter, double now, uint32_t size) {
    if (to->history_times == NULL) return;
    uint32_t index = counter & to->history_mask;
    to->history_sequences[index] = counter;
    to->history_times[index] = now;
    to->history_sizes[index] = (int)size;
    *to->history_last = now;
}

/* vp8.picture */
static void picture_of(const uint8_t *payload, uint32_t size, struct picture *p) {
    p->there = 0;
    if (size < 3 || !(payload[0] & 0x80) || !(payload[1] & 0x80)) return;
    p->wide = payload[2] >> 7;
    uint32_t at = p->wide ? 4 : 3;
    if (size < at + 2) return;
    p->there = 1;
    p->number = p->wide ? get16(payload + 2) & 0x7FFF : payload[2];
    p->tl0 = payload[1] & 0x40 ? payload[at++] : -1;
    p->layer = payload[1] & 0x20 ? payload[at] >> 6 : 0;
}

static void renumber(uint8_t *payload, const struct picture *p, step_forwarder *f) {
    uint32_t number = p->number + f->picture_offset, at = 3;
    if (p->wide) {
        put16(payload + 2, 0x8000 | (number & 0x7FFF));
        at = 4;
    } else
        payload[2] = number & 0x7F;
    if (p->tl0 >= 0) payload[at] = (uint8_t)(p->tl0 + f->tl0_offset);
    f->last_picture = number & 0x7FFF;
    f->last_tl0 = (p->tl0 + f->tl0_offset) & 0xFF;
}

/* vp9.layer */
static void layer_of(const uint8_t *payload, uint32_t size, struct layer *l) {
    uint32_t at = 1;
    uint8_t first = payload[0];
    if (!(first & 0x20)) return;
    if (first & 0x80) {
        if (size < 2) return;
        at = payload[1] & 0x80 ? 3 : 2;
    }
    if (size <= at) return;
    uint8_t value = payload[at], spatial = value >> 1 & 7, temporal = value >> 5;
    l->there = 1;
    l->spatial = spatial > 3 ? 3 : spatial;
    l->temporal = temporal > 3 ? 3 : temporal;
    l->begins = (first & 0x48) != 0x08 ? 0 : value & 1 ? 1 : 2;
    l->up = value & 0x10;
    l->end = first & 4;
}

/* layers._goes where it changes no layer: 1 the packet goes, 0 it is left out as those before it were, -1 Python's. */
static int goes(const step_forwarder *f, const struct layer *l, uint16_t sequence, uint32_t rtp) {
    if (f->frame != rtp) {
        if (f->passing > f->temporal || f->top > f->spatial) return -1;
        if ((f->passing < f->temporal || f->top < f->spatial) && (l->begins == 2 || l->up)) return -1;
    } else if (l->begins && f->top < l->spatial && l->spatial <= f->spatial)
        return -1;
    if (l->spatial <= f->top && l->temporal <= f->passing) return 1;
    return f->switched == sequence ? 0 : -1; /* one that begins to leave out is remembered, for resending */
}

/* red.primary: 0 when it is empty or cannot be read, else its place. */
static uint32_t primary_of(const uint8_t *payload, uint32_t size, uint8_t *kind) {
    uint32_t at = 0, before = 0;
    while (at < size && payload[at] & 0x80) {
        if (at + 4 > size) return 0;
        before += get16(payload + at + 2) & 0x3FF;
        at += 4;
    }
    if (at + 1 + before >= size) return 0;
    *kind = payload[at];
    return at + 1 + before;
}

/* A packet of a stream to one subscriber. */
static void pass(step *s, step_forwarder *f, const struct packet *p) {
    uint8_t kind = f->payload_types[p->second];
    step_endpoint *to = f->endpoint;
    const uint8_t *payload = p->payload;
    uint32_t size = p->size;
    if (!kind && p->newest && f->red == (p->second & 127)) { /* Forwarding._plain */
        kind = f->payload_types[(p->second & 0x80) | p->newest_kind];
        payload += p->newest;
        size -= p->newest;
    }
    if (!kind || to->tx == NULL) return;
    if (p->layer.there) {
        int go = goes(f, &p->layer, p->sequence, p->rtp);
        f->frame = p->rtp;
        if (!go) {
            f->sequence_offset--;
            f->switched = (uint16_t)(p->sequence + 1);
            return;
        }
        if (p->layer.end && p->layer.spatial == f->top) kind |= 0x80;
    }
    if (s->waiting == QUEUED) flush(s);
    uint8_t *out = s->out_data[s->waiting];
    uint32_t number = (p->sequence + f->sequence_offset) & 0xFFFF, stamp = p->rtp + f->rtp_offset, at = 12;
    int with_level = f->level_byte && p->level != 255;
    out[0] = f->counter_byte || with_level ? 0x90 : 0x80;
    out[1] = kind;
    put16(out + 2, number);
    put32(out + 4, stamp);
    put32(out + 8, f->ssrc);
    uint16_t counter = 0;
    if (f->counter_byte || with_level) {
        put16(out + 12, 0xBEDE);
        memset(out + 14, 0, 10);
        at = 16;
        if (f->counter_byte) {
            counter = to->counter = (uint16_t)(to->counter + 1);
            out[at++] = f->counter_byte;
            put16(out + at, counter);
            at += 2;
        }
        if (with_level) {
            out[at++] = f->level_byte;
            out[at++] = (uint8_t)p->level;
        }
        at = (at + 3) & ~3u;
        put16(out + 14, (at - 16) / 4);
    }
    memcpy(out + at, payload, size);
    if (f->counters != NULL) f->counters[number % STEP_REPEATED] = counter;
    if (p->picture.there) {
        f->frame = p->rtp;
        renumber(out + at, &p->picture, f);
    }
    uint32_t end = at + size;
    if (f->counter_byte) remember(to, counter, p->now, end);
    int length = (int)end;
    if (step_protect(to->seal, out, &length)) {
        s->unsent++;
        return;
    }
    struct mmsghdr *m = &s->out[s->waiting];
    s->out_parts[s->waiting].iov_len = (size_t)length;
    m->msg_hdr.msg_name = to->address;
    m->msg_hdr.msg_namelen = to->address_size;
    s->queued[s->waiting].forwarder = f;
    s->queued[s->waiting].to = to;
    s->queued[s->waiting].end = end;
    s->queued[s->waiting].size = size;
    s->waiting++;
    f->packets++;
    f->octets += size;
    to->sent_packets++;
    to->sent_bytes += end;
    f->last_sequence = (uint16_t)number;
    f->last_rtp = stamp;
    f->last_time = p->now;
}

/* What came of one stream goes to its subscribers: to each all of it, so that what one packet touches is warm for the next. */
static void forward(step *s) {
    step_stream *stream = s->stream;
    if (stream == NULL) return;
    s->stream = NULL;
    for (uint32_t i = 0; i < stream->forwarder_count; i++)
        for (uint32_t k = 0; k < s->packets; k++) pass(s, stream->forwarders[i], &s->burst[k]);
    s->packets = 0;
}

/* Receiving. */

static step_stream *stream_of(step_endpoint *e, uint32_t ssrc) {
    for (uint32_t i = 0; i < e->stream_count; i++)
        if (e->streams[i]->ssrc == ssrc) return e->streams[i];
    return NULL;
}

/* 0: done; else it is Python's. */
static int media(step *s, step_endpoint *e, uint8_t *data, uint32_t size) {
    uint8_t first = data[0], second = data[1];
    uint32_t at = 12 + ((first & 15u) << 2), end = size;
    int level = 255, counted = 0;
    uint16_t counter = 0;
    if (first & 16) {
        if (at + 4 > size) return STEP_PACKET;
        uint32_t stop = at + 4 + ((uint32_t)get16(data + at + 2) << 2);
        if (stop > size) return STEP_PACKET;
        if (data[at] == 0x10) return STEP_PACKET; /* two-byte elements */
        if (data[at] == 0xBE) {
            for (uint32_t i = at + 4; i < stop;) {
                uint8_t element = data[i], name = element >> 4;
                uint32_t length = element ? 2u + (element & 15) : 1;
                if (i + length > size) return STEP_PACKET;
                if (name && name == e->counter_id && length >= 3) {
                    counter = get16(data + i + 1);
                    counted = 1;
                } else if (name && name == e->level_id)
                    level = data[i + 1];
                i += length;
            }
        }
        at = stop;
    }
    if (first & 32) {
        uint8_t padding = data[size - 1];
        if (padding == 0 || at > size || padding > size - at) return STEP_PACKET;
        end -= padding;
    }
    if (at >= end) return STEP_PACKET;
    step_stream *stream = stream_of(e, get32(data + 8));
    uint16_t sequence = get16(data + 2);
    if (s->stream != NULL && (s->stream != stream || s->packets == BURST)) forward(s);
    if (stream == NULL || stream->slow || !stream->packets || sequence != (uint16_t)(stream->highest + 1)) return STEP_PACKET;
    for (uint32_t i = 0; i < stream->forwarder_count; i++)
        if (stream->forwarders[i]->endpoint->by_tcp) return STEP_PACKET;
    struct packet packet = {.payload = data + at, .size = end - at, .sequence = sequence, .second = second};
    struct picture *picture = &packet.picture;
    struct layer *layer = &packet.layer;
    if (stream->layered == STEP_NUMBERED && stream->vp8 == (second & 127)) picture_of(data + at, end - at, picture);
    if (picture->there)
        for (uint32_t i = 0; i < stream->forwarder_count; i++) { /* a frame to leave out, or at which a layer comes or goes */
            step_forwarder *f = stream->forwarders[i];
            if (picture->layer > f->passing || f->passing > f->temporal) return STEP_PACKET;
        }

    if (stream->layered == STEP_VP9 && stream->svc == (second & 127)) layer_of(data + at, end - at, layer);
    if (layer->there)
        for (uint32_t i = 0; i < stream->forwarder_count; i++) {
            const step_forwarder *f = stream->forwarders[i];
            if (f->payload_types[second] && f->endpoint->tx != NULL && goes(f, layer, sequence, get32(data + 4)) < 0) return STEP_PACKET;
        }

    if (stream->red && stream->red == (second & 127)) {
        packet.newest = primary_of(data + at, end - at, &packet.newest_kind);
        for (uint32_t i = 0; i < stream->forwarder_count; i++) { /* one that cannot be unwrapped is left out */
            const step_forwarder *f = stream->forwarders[i];
            if (f->red != stream->red || f->payload_types[second]) continue;
            if (!packet.newest || !f->payload_types[(second & 0x80) | packet.newest_kind]) return STEP_PACKET;
        }
    }

    /* From here on it is done here, as Forwarding._packet does it. */
    uint32_t rtp = get32(data + 4);
    double now = s->now;
    if (picture->there) stream->layer_bytes[picture->layer] += end - at;
    if (layer->there) stream->layer_bytes[4 * layer->spatial + layer->temporal] += end - at;
    if (counted && e->noted_count < STEP_NOTED) e->noted[e->noted_count++] = (uint64_t)(now * 1e6) << 16 | counter;
    stream->highest = sequence;
    if (!sequence) stream->cycles++;
    stream->packets++;
    stream->bytes += end - at;
    if (rtp != stream->last_rtp) {
        double transit = now * stream->clock - rtp, change = transit - stream->transit;
        stream->transit = transit;
        if (-900000 < change && change < 900000) stream->jitter += ((change > 0 ? change : -change) - stream->jitter) * 0.0625;
        stream->last_rtp = rtp;
    }
    stream->last_time = now;
    if (level != 255) {
        stream->levels++;
        stream->level_sum += level & 127;
    }
    uint8_t head[12];
    head[0] = first & 0x80;
    head[1] = second;
    put16(head + 2, sequence);
    put32(head + 4, rtp);
    put32(head + 8, (uint32_t)level);
    step_keep(stream, sequence & stream->mask, head, data + at, end - at);
    packet.rtp = rtp;
    packet.level = (uint8_t)level;
    packet.now = now;
    s->stream = stream;
    s->burst[s->packets++] = packet;
    if (layer->there) forward(s); /* what goes of the next one hangs on what went of this one */
    return 0;
}

/* A report that can wait, in place of the one before it about the same streams. 0: it cannot, since too many do. */
static int keep(step_endpoint *e, double at, const uint8_t *data, uint32_t size) {
    uint32_t head = data[1] == 200 ? 28 : 8, about = head + (data[0] & 31 ? 4 : 0); /* its sender, and the first that it tells of */
    step_report *r = e->reports;
    while (r < e->reports + e->report_count && (r->size < about || r->data[1] != data[1] || memcmp(r->data + 4, data + 4, 4) ||
                                                ((r->data[0] ^ data[0]) & 31) || memcmp(r->data + head, data + head, about - head)))
        r++;
    if (r == e->reports + KEPT) return 0;
    if (r == e->reports + e->report_count) e->report_count++;
    r->at = at;
    r->size = size;
    memcpy(r->data, data, size);
    return 1;
}

static int datagram(step *s, int i, step_event *event) {
    uint8_t *data = s->in_data[i];
    uint32_t size = s->in[i].msg_len;
    struct key key;
    if (!size || !key_of(&s->from[i], &key)) return 0;
    struct place *place = *find(s, &key);
    step_endpoint *e = place != NULL ? place->endpoint : NULL;
    event->data = data;
    event->size = size;
    event->now = s->now;
    event->endpoint = e != NULL ? e->handle : NULL;
    event->address = &s->from[i];
    event->address_size = s->in[i].msg_hdr.msg_namelen;
    if (e != NULL && data[0] == 0 && e->rx != NULL) {
        uint8_t answer[128];
        uint32_t length = step_stun(e, data, size, &s->from[i], answer);
        if (length) {
            e->heard = s->now;
            leave(s, answer, length, &s->from[i], event->address_size);
            return 0;
        }
    }
    if (e == NULL || data[0] < 128 || data[0] > 191 || size < 12 || e->rx == NULL) return STEP_OTHER;
    int length = (int)size;
    if (data[1] >= 192 && data[1] <= 223) {
        if (s->unprotect_rtcp(e->rx, data, &length)) {
            e->bad++;
            return 0;
        }
        e->heard = s->now;
        event->size = (uint32_t)length;
        if (e->due > s->now && length <= (int)sizeof e->reports->data && step_quiet(data, (uint32_t)length) && keep(e, s->now, data, (uint32_t)length))
            return 0;
        int what = e->link != NULL ? step_told(e->link, data, (uint32_t)length, s->now) : STEP_RTCP;
        if (what < 0) e->bad++;
        return what < 0 ? 0 : what;
    }
    if (s->unprotect(e->rx, data, &length)) {
        e->bad++;
        return 0;
    }
    e->heard = s->now;
    e->received_packets++;
    e->received_bytes += size;
    event->size = (uint32_t)length;
    return media(s, e, data, (uint32_t)length);
}

/* Under load it costs more to be woken for each datagram than to handle it: those of a moment are taken together. */
static void rest(step *s) {
    double wait = s->looked + s->pace - monotonic();
    if (s->full || wait <= 0 || wait > s->pace) return;
    struct timespec t = {0, (long)(wait * 1e9)};
    nanosleep(&t, NULL);
}

/* What is there, TAKEN at most, without waiting; as recvmmsg. */
static int take(step *s, int fd, int stamped, int *left) {
    for (int i = 0; i < TAKEN; i++) {
        struct msghdr *m = &s->in[i].msg_hdr;
        m->msg_namelen = sizeof s->from[i];
        m->msg_control = s->stamps[i];
        m->msg_controllen = stamped ? sizeof s->stamps[i] : 0;
    }
    int n = recvmmsg(fd, s->in, TAKEN, MSG_DONTWAIT, NULL);
    if (n > 0) {
        *left -= n;
        s->taken = n;
        s->stamped = stamped;
    }
    return n;
}

/* sockets.arrived */
static double came(struct msghdr *m, double wall, double now) {
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    struct timespec t;
    if (c == NULL || c->cmsg_len < CMSG_LEN(sizeof t)) return now;
    memcpy(&t, CMSG_DATA(c), sizeof t);
    double at = seconds(&t) + wall;
    return now - DELAYED < at && at < now ? at : now;
}

/* What is left of the datagrams that were taken together: they leave together too. */
int step_rest(step *s, step_event *event) {
    while (s->at < s->taken) {
        if (s->stamped) s->now = came(&s->in[s->at].msg_hdr, s->wall, s->settled);
        int what = datagram(s, s->at++, event);
        if (what) {
            forward(s);
            flush(s); /* Python sends by itself: order is kept */
            return what;
        }
    }
    forward(s);
    flush(s);
    if (!s->stamped) s->full = s->taken == TAKEN;
    s->at = s->taken = 0;
    return STEP_DONE;
}

static int run(step *s, int fd, int stamped, int *left, step_event *event) {
    for (;;) {
        if (s->taken) {
            int all = s->taken < TAKEN, what = step_rest(s, event);
            if (what || all) return what; /* that there was; the event loop calls again when there is more */
        }
        if (*left <= 0) return STEP_DONE;
        if (!stamped) rest(s);
        if (take(s, fd, stamped, left) <= 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return STEP_DONE;
            --*left; /* an ICMP error of some earlier send */
            continue;
        }
        if (stamped) s->wall = apart();
        s->now = monotonic();
        *(stamped ? &s->settled : &s->looked) = s->now;
    }
}

int step_pump(step *s, int *left, step_event *event) { return run(s, s->fd, 0, left, event); }

/* Reports that waited, with the time at which each came. */
int step_settle(step *s, int *left, step_event *event) {
    s->settled = monotonic();
    return run(s, s->reports, 1, left, event);
}

/* Waits in the event loop's stead for what `epoll` watches (waiting.py), `timeout` s at most or, below 0, for ever. Media and reports are
   seen to meanwhile: reports behind media, where the code for them is at hand anyway, unless none comes for a while. STEP_READY: there is
   something else; STEP_DONE: time is up; else what is Python's, and step_rest goes on behind it. */
int step_wait(step *s, int epoll, double timeout, step_event *event) {
    struct epoll_event events[READY];
    double now = monotonic(), until = timeout < 0 ? INFINITY : now + timeout;
    for (;;) {
        double next = s->reports >= 0 && s->settled + SETTLE < until ? s->settled + SETTLE : until, wait = ceil((next - now) * 1e3);
        int n = epoll_wait(epoll, events, READY, isinf(wait) ? -1 : wait < 0 ? 0 : wait > LONGEST ? LONGEST : (int)wait);
        int ours = 0, left = s->batch, what = STEP_DONE;
        for (int i = 0; i < n; i++) ours |= events[i].data.fd == s->fd;
        if (ours) {
            what = step_pump(s, &left, event);
            if (what) return what;
        }
        now = ours ? s->looked : monotonic();
        if (s->reports >= 0 && now - s->settled >= (ours ? EARLIER : SETTLE)) {
            left = s->batch;
            what = step_settle(s, &left, event);
            if (what) return what;
        }
        if (n < 0 || n > ours) return STEP_READY; /* a signal is for the loop too */
        now = monotonic();
        if (now >= until) return STEP_DONE;
    }
}
