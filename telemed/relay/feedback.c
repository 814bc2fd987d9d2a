/* Transport-wide feedback in C: reads one and looks up what became of each packet (twcc.py), and follows the trend of delay (trend.py).

   Same arithmetic in the same order as there, so that both give the same figures; the tests hold them against each other. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "octets.h"
#include "step.h"

static const double SPAN_US = 64000.0 * 16777216.0; /* where the reference time wraps */

/* draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1. 0: read; -1: cut off or too long, and nothing is changed. */
int step_feedback(const uint8_t *body, uint32_t size, const step_history *history, step_digest *digest) {
    static uint8_t statuses[STEP_STATUSES + 16]; /* one event loop calls; a last chunk may say more than is due */
    if (size < 16) return -1;
    uint32_t base = get16(body + 8), count = get16(body + 10), at = 16, n = 0, octets = 0;
    if (count > STEP_STATUSES) return -1;
    while (n < count) {
        if (at + 2 > size) return -1;
        uint32_t chunk = get16(body + at);
        at += 2;
        if (!(chunk & 0x8000)) {
            uint32_t run = chunk & 0x1FFF;
            if (run > count - n) run = count - n;
            memset(statuses + n, (int)(chunk >> 13 & 3), run);
            n += run;
        } else if (chunk & 0x4000)
            for (int shift = 12; shift >= 0; shift -= 2) statuses[n++] = chunk >> shift & 3;
        else
            for (int shift = 13; shift >= 0; shift--) statuses[n++] = chunk >> shift & 1;
    }
    for (uint32_t i = 0; i < count; i++) octets += statuses[i] == 1 ? 1 : statuses[i] == 2 ? 2 : 0;
    if (at + octets > size) return -1;

    int32_t reference = (int32_t)((uint32_t)body[12] << 16 | (uint32_t)body[13] << 8 | body[14]);
    if (reference & 0x800000) reference -= 1 << 24;
    int64_t time = (int64_t)reference * 64000;
    digest->count = digest->lost = 0;
    digest->octets = digest->lost_octets = 0;
    digest->delay = INFINITY;
    digest->tail = 0.0;
    digest->newest = -INFINITY;
    digest->first_sent = digest->first_came = NAN;
    double latest = *history->base, offset = NAN;
    for (uint32_t i = 0; i < count; i++) {
        uint16_t sequence = (uint16_t)(base + i);
        uint32_t index = sequence & history->mask;
        int came = 0;
        if (statuses[i] == 1) {
            time += body[at] * 250;
            at += 1;
            came = 1;
        } else if (statuses[i] == 2) {
            time += (int16_t)get16(body + at) * 250;
            at += 2;
            came = 1;
        }
        int octets_sent = history->sizes[index];
        if (!octets_sent || history->sequences[index] != sequence) continue;
        double sent = history->times[index];
        uint32_t place = digest->count;
        if (!came) {
            if (octets_sent < 0) continue;
            history->sizes[index] = -octets_sent;
            digest->came[place] = NAN;
            digest->lost++;
            digest->lost_octets += (uint64_t)octets_sent;
        } else {
            history->sizes[index] = 0;
            if (isnan(offset)) offset = isnan(latest) ? 0.0 : rint((latest - (double)time) / SPAN_US) * SPAN_US;
            double arrival = (double)time + offset;
            if (isnan(latest) || arrival > latest) latest = arrival;
            arrival *= 1e-6;
            if (octets_sent < 0) octets_sent = -octets_sent;
            digest->came[place] = arrival;
            digest->octets += (uint64_t)octets_sent;
            digest->tail = arrival - sent;
            if (digest->tail < digest->delay) digest->delay = digest->tail;
            if (arrival > digest->newest) digest->newest = arrival;
            if (isnan(digest->first_came)) {
                digest->first_sent = sent;
                digest->first_came = arrival;
            }
        }
        digest->sent[place] = sent;
        digest->size[place] = octets_sent;
        digest->last_sent = sent;
        digest->count++;
    }
    *history->base = latest;
    return 0;
}

/* The trend of delay (trend.py has the reasons). */

static const double BURST = 0.005, SMOOTHING = 0.9, GAIN = 4.0, OVER_TIME = 0.010, REBASE_MS = 30000.0;
static const double LOW = 6.0, HIGH = 600.0, JUMP = 15.0, UP = 0.0087, DOWN = 0.039;
enum { NORMAL = 0, OVER = 1, UNDER = -1, COUNT_LIMIT = 60 };

void step_trend_restart(step_trend *t) {
    double threshold = t->threshold, jitter = t->jitter;
    memset(t, 0, sizeof *t);
    t->threshold = threshold;
    t->jitter = jitter;
    t->first_sent = t->sent = t->arrived = t->last_sent = t->last_arrived = t->over = t->last_point = -1.0;
}

static void judge(step_trend *t, double trend, double send_gap, double arrived) {
    double value = t->count * trend * GAIN, threshold = t->threshold, size = fabs(value);
    if (value > threshold) {
        t->over = t->over < 0.0 ? send_gap / 2 : t->over + send_gap;
        t->above++;
        if (t->over > OVER_TIME && t->above > 1 && trend >= t->previous) {
            t->over = 0.0;
            t->above = 0;
            t->state = OVER;
        }
    } else {
        t->over = -1.0;
        t->above = 0;
        t->state = value < -threshold ? UNDER : NORMAL;
    }
    t->previous = trend;
    if (size <= threshold + JUMP && t->last_point >= 0.0) {
        double passed = fmin((arrived - t->last_point) * 1e3, 100.0);
        threshold += (size > threshold ? UP : DOWN) * (size - threshold) * passed;
        t->threshold = fmin(fmax(threshold, LOW), HIGH);
    }
    t->last_point = arrived;
}

static void point(step_trend *t, double arrival_gap, double send_gap, double arrived) {
    double difference = (arrival_gap - send_gap) * 1e3;
    t->jitter += (fabs(difference) * 1e-3 - t->jitter) * 0.05;
    if (t->count < COUNT_LIMIT) t->count++;
    t->delay += difference;
    t->smoothed = SMOOTHING * t->smoothed + (1 - SMOOTHING) * t->delay;
    double y = t->smoothed;
    if (!t->points) t->zero = arrived;
    double x = (arrived - t->zero) * 1e3;
    t->sx = t->sx + x;
    t->sy = t->sy + y;
    t->sxy = t->sxy + x * y;
    t->sxx = t->sxx + x * x;
    int place = (t->oldest + t->points) % STEP_WINDOW;
    if (t->points == STEP_WINDOW) {
        double ox = t->xs[t->oldest], oy = t->ys[t->oldest];
        t->sx = t->sx - ox;
        t->sy = t->sy - oy;
        t->sxy = t->sxy - ox * oy;
        t->sxx = t->sxx - ox * ox;
        place = t->oldest;
        t->oldest = (t->oldest + 1) % STEP_WINDOW;
    } else
        t->points++;
    t->xs[place] = x;
    t->ys[place] = y;
    if (x > REBASE_MS) {
        double base = t->xs[t->oldest];
        t->zero += base * 1e-3;
        t->sx = t->sy = t->sxy = t->sxx = 0.0;
        for (int i = 0; i < t->points; i++) {
            int k = (t->oldest + i) % STEP_WINDOW;
            t->xs[k] -= base;
            t->sx += t->xs[k];
            t->sy += t->ys[k];
            t->sxy += t->xs[k] * t->ys[k];
            t->sxx += t->xs[k] * t->xs[k];
        }
    }
    double trend = t->previous;
    if (t->points == STEP_WINDOW) {
        double spread = STEP_WINDOW * t->sxx - t->sx * t->sx;
        if (spread > 0.0) trend = (STEP_WINDOW * t->sxy - t->sx * t->sy) / spread;
    }
    judge(t, trend, send_gap, arrived);
}

int step_trend_feed(step_trend *t, const step_digest *digest) {
    for (uint32_t i = 0; i < digest->count; i++) {
        double left = digest->sent[i], came = digest->came[i];
        if (isnan(came)) continue;
        if (t->first_sent < 0.0) {
            t->first_sent = t->sent = left;
            t->first_arrived = t->arrived = came;
            continue;
        }
        if (left < t->first_sent) continue;
        if (left - t->first_sent <= BURST ||
            (came - t->arrived <= BURST && came - t->arrived < left - t->sent && came - t->first_arrived < 0.1)) {
            if (left > t->sent) t->sent = left;
            if (came > t->arrived) t->arrived = came;
            continue;
        }
        if (t->last_sent >= 0.0) {
            double gap = t->arrived - t->last_arrived, sent = t->sent, arrived = t->arrived;
            if (gap > 3.0 || gap < -0.5)
                step_trend_restart(t);
            else
                point(t, gap, sent - t->last_sent, arrived);
            t->last_sent = sent;
            t->last_arrived = arrived;
        } else {
            t->last_sent = t->sent;
            t->last_arrived = t->arrived;
        }
        t->first_sent = t->sent = left;
        t->first_arrived = t->arrived = came;
    }
    return t->state;
}

/* A link that carries all that is wanted, and more, is not looked at ten times a second: what its feedback tells is gathered for a while,
   unless something is lost, late or beginning to queue. */

static const double GATHERED = 6.0, SILENT = 1.0, EARLY = 0.02, LATE = 0.04, HOLE = 0.15; /* s */

/* STEP_TOLD: Python is to look; STEP_DONE: gathered; STEP_RTCP: not one feedback of the known sender, all Python's; -1: malformed. */
int step_told(step_link *l, const uint8_t *packet, uint32_t size, double now) {
    if (size < 8 || packet[1] != 205 || (packet[0] & 31) != 15 || 4 * (get16(packet + 2) + 1) != size) return STEP_RTCP;
    if (!l->ssrc || ((uint32_t)get16(packet + 4) << 16 | get16(packet + 6)) != l->ssrc) return STEP_RTCP;
    uint32_t end = size;
    if (packet[0] & 32) {
        uint8_t padding = packet[size - 1];
        if (!padding || padding > size - 4) return STEP_RTCP;
        end -= padding;
    }
    step_digest *d = l->digest;
    if (step_feedback(packet + 4, end - 4, l->history, d)) return -1;
    if (!d->count) return STEP_DONE;
    if (l->told) {
        l->count = l->lost = 0;
        l->octets = l->lost_octets = 0;
        l->delay = INFINITY;
        l->told = 0;
    }
    int came = d->count > d->lost;
    int quiet = l->calm && came && !d->lost && now - l->told_at < GATHERED && now - l->heard < SILENT && d->delay - l->base < EARLY &&
                d->tail - l->base < LATE && d->first_came - l->newest < HOLE;
    l->gap = now - l->heard;
    l->heard = now;
    l->before = l->newest;
    l->count += d->count;
    l->lost += d->lost;
    l->octets += d->octets;
    l->lost_octets += d->lost_octets;
    l->last_sent = d->last_sent;
    l->first_sent = d->first_sent;
    l->first_came = d->first_came;
    if (came) {
        if (d->delay < l->delay) l->delay = d->delay;
        if (d->newest > l->newest) l->newest = d->newest;
        l->tail = d->tail;
    }
    l->fed = quiet && step_trend_feed(l->trend, d) != NORMAL;
    if (quiet && !l->fed) return STEP_DONE;
    l->told = 1;
    l->told_at = now;
    return STEP_TOLD;
}

/* Whether it is reports alone (RFC 3550 6.4, 6.5) that tell of no loss since those before: they can wait for the next look at the peer. */
int step_quiet(const uint8_t *packet, uint32_t size) {
    for (uint32_t at = 0; at < size;) {
        const uint8_t *p = packet + at;
        if (size - at < 8 || p[0] >> 5 != 4) return 0; /* version 2, and no padding */
        uint32_t length = 4 * (get16(p + 2) + 1), blocks = p[0] & 31, head = p[1] == 200 ? 28 : 8;
        if (p[1] < 200 || p[1] > 202 || length > size - at) return 0;
        if (p[1] != 202) {
            if (length != head + 24 * blocks) return 0;
            for (uint32_t i = 0; i < blocks; i++)
                if (p[head + 24 * i + 4]) return 0;
        }
        at += length;
    }
    return 1;
}

/* Feedback about what a publisher sent (draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1), as twcc.FeedbackBuilder builds it.

   Only the common case: everything since the last one came in order and in time, a few missing at most. Length of the packet in `out`
   (1,500 bytes); 0: nothing came; -1: not the common case, nothing is changed. */
enum { IN_ORDER = 200 };

int step_build(step_builder *b, step_endpoint *e, uint32_t sender, uint32_t media, uint8_t *out) {
    uint32_t n = e->noted_count;
    if (!n) return 0;
    if (b->highest < 0 || b->highest + 1 != b->next || n > IN_ORDER) return -1;
    int64_t expected = b->next, before = (int64_t)(e->noted[0] >> 16) / 64000 * 64000, clock = before;
    uint8_t symbols[2 * IN_ORDER];
    int16_t deltas[IN_ORDER];
    uint32_t count = 0, octets = 0;
    for (uint32_t i = 0; i < n; i++) {
        int64_t sequence = expected - 1 + (int16_t)((uint16_t)e->noted[i] - (uint16_t)(expected - 1)), at = (int64_t)(e->noted[i] >> 16);
        if (sequence < expected || sequence - expected > 20 || count + (uint32_t)(sequence - expected) + 1 > 2 * IN_ORDER) return -1;
        int64_t ticks = (at - clock + 125) / 250;
        octets += (sequence > expected ? 4 : 0) + (ticks <= 0xFF ? 1 : 2);
        if (at + 125 < clock || ticks > 0x7FFF || octets > 900) return -1;
        while (expected < sequence) {
            symbols[count++] = 0;
            expected++;
        }
        symbols[count++] = ticks <= 0xFF ? 1 : 2;
        deltas[i] = (int16_t)ticks;
        clock += ticks * 250;
        expected++;
    }

    uint32_t at = 20;
    for (uint32_t i = 0; i < count;) { /* twcc.chunks */
        uint32_t ahead = count - i < 14 ? count - i : 14, capacity = 14, same = 0, value;
        for (uint32_t k = 0; k < ahead; k++)
            if (symbols[i + k] == 2) capacity = 7;
        uint32_t window = ahead < capacity ? ahead : capacity;
        while (same < window && symbols[i + same] == symbols[i]) same++;
        if (same == window) {
            uint32_t stop = i + window;
            while (stop < count && symbols[stop] == symbols[i]) stop++;
            value = (uint32_t)symbols[i] << 13 | (stop - i);
            i = stop;
        } else {
            uint32_t bits = capacity == 14 ? 1 : 2;
            value = capacity == 14 ? 2 : 3;
            for (uint32_t k = 0; k < window; k++) value = value << bits | symbols[i + k];
            value <<= bits * (capacity - window);
            i += window;
        }
        out[at++] = (uint8_t)(value >> 8);
        out[at++] = (uint8_t)value;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (deltas[i] > 0xFF) out[at++] = (uint8_t)(deltas[i] >> 8);
        out[at++] = (uint8_t)deltas[i];
    }
    uint32_t padding = (4 - at % 4) % 4;
    memset(out + at, 0, 4);
    at += padding;
    if (padding) out[at - 1] = (uint8_t)padding;
    uint32_t reference = (uint32_t)(before / 64000), base = (uint32_t)b->next;
    const uint8_t head[20] = {
        (uint8_t)(padding ? 0xAF : 0x8F), 205, (uint8_t)((at / 4 - 1) >> 8), (uint8_t)(at / 4 - 1),
        (uint8_t)(sender >> 24), (uint8_t)(sender >> 16), (uint8_t)(sender >> 8), (uint8_t)sender,
        (uint8_t)(media >> 24), (uint8_t)(media >> 16), (uint8_t)(media >> 8), (uint8_t)media,
        (uint8_t)(base >> 8), (uint8_t)base, (uint8_t)(count >> 8), (uint8_t)count,
        (uint8_t)(reference >> 16), (uint8_t)(reference >> 8), (uint8_t)reference, b->count++,
    };
    memcpy(out, head, sizeof head);

    for (uint32_t i = 0; i < n; i++) {
        uint32_t place = b->recent_at++ & 255;
        int64_t sequence = b->next + (uint16_t)((uint16_t)e->noted[i] - (uint16_t)b->next);
        b->recent[place] = sequence;
        b->recent_us[place] = (int64_t)(e->noted[i] >> 16);
    }
    b->next = expected;
    b->highest = expected - 1;
    e->noted_count = 0;
    return (int)at;
}
