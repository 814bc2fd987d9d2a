/* What step.c shares with compiled.py, which reads this file as declarations for cffi: no preprocessor in it. */

typedef int (*step_srtp)(void *session, void *packet, int *length);

/* OpenSSL's EVP_CIPHER_CTX_new and _free, EVP_aes_*_gcm, EVP_EncryptInit_ex, _Update and _Final_ex, EVP_CIPHER_CTX_ctrl. */
typedef struct {
    void *(*make)(void);
    void (*drop)(void *context);
    const void *(*gcm128)(void);
    const void *(*gcm256)(void);
    int (*begin)(void *context, const void *cipher, void *engine, const uint8_t *key, const uint8_t *nonce);
    int (*update)(void *context, uint8_t *out, int *size, const uint8_t *in, int in_size);
    int (*end)(void *context, uint8_t *out, int *size);
    int (*control)(void *context, int type, int value, void *data);
} step_crypto;

typedef struct step step;
typedef struct step_seal step_seal;
typedef struct step_endpoint step_endpoint;
typedef struct step_stream step_stream;
typedef struct step_forwarder step_forwarder;
typedef struct step_link step_link;
typedef struct step_builder step_builder;

enum { STEP_DONE = 0, STEP_OTHER = 1, STEP_RTCP = 2, STEP_PACKET = 3, STEP_TOLD = 4, STEP_READY = 5, STEP_NOTED = 512, STEP_STREAMS = 64, STEP_REPEATED = 512 };
enum { STEP_NUMBERED = 1, STEP_VP9 = 2, STEP_AV1 = 3 }; /* those of layers.py */

typedef struct {
    double at;
    uint32_t size;
    uint8_t data[128];
} step_report;

struct step_endpoint {
    void *rx, *tx;                  /* srtp_t; NULL before the handshake is done */
    step_seal *seal;                /* what RTP to it is protected by, from then on */
    void *handle;                   /* cffi's handle of the Python object */
    uint8_t address[128];           /* sockaddr_storage */
    uint32_t address_size;
    uint8_t by_tcp, counter_id, level_id;
    uint16_t counter;
    double heard;
    uint64_t received_packets, received_bytes, bad, sent_packets, sent_bytes;
    uint32_t stream_count;
    step_stream *streams[64];
    uint64_t *noted;                /* arrival in us << 16 | transport-wide sequence number, until Python takes them */
    uint32_t noted_count;
    double *history_times, *history_last; /* SendHistory's own arrays */
    int *history_sizes;
    uint16_t *history_sequences;
    uint32_t history_mask;
    step_link *link;                /* what its transport-wide feedback is read into; NULL: Python reads it */
    step_builder *builder;          /* of the feedback it is given */
    uint32_t report_ssrc;           /* whose that feedback is */
    double due;                     /* when Python is to look at it, s */
    uint32_t report_count;          /* reports that wait for that */
    step_report reports[4];
    uint8_t user[128], password[64]; /* of the present ICE session: USERNAME of requests, our password */
    uint32_t user_size, password_size; /* 0: its binding requests are Python's */
};

typedef struct {
    uint16_t size, room;
    uint8_t data[];
} step_kept;

struct step_stream {
    uint32_t ssrc, last_rtp, mask, forwarder_count;
    uint16_t highest;
    uint8_t slow;                   /* someone waits for its keyframe, it is recorded, or it resends: Python's */
    uint8_t vp8, svc, red, layered; /* payload types of VP8, of the codec that names layers, of redundant sound; STEP_NUMBERED, ... */
    int64_t cycles;
    uint64_t layer_bytes[16];
    uint64_t packets, bytes, levels, level_sum;
    double clock, jitter, transit, last_time;
    step_kept **cache;
    step_forwarder **forwarders;
};

struct step_forwarder {
    step_endpoint *endpoint;
    uint32_t ssrc, rtp_offset, last_rtp;
    uint16_t sequence_offset, last_sequence, switched;
    uint8_t counter_byte, level_byte;
    uint8_t temporal, passing, spatial, top, tl0_offset, red;
    uint16_t picture_offset;
    int32_t last_picture, last_tl0;
    int64_t frame;
    uint8_t payload_types[256];
    uint64_t packets, octets;
    double last_time;
    int *counters;                  /* of STEP_REPEATED packets, by number; NULL: lost ones are resent by RTX */
};

typedef struct {
    uint8_t *data;
    uint32_t size, address_size;
    void *endpoint;                 /* its handle, NULL: no one's */
    double now;
    void *address;                  /* sockaddr_storage */
} step_event;

/* Transport-wide feedback: what twcc.py and trend.py do for each packet. Lists are of one feedback. */

enum { STEP_STATUSES = 8192, STEP_WINDOW = 20 };

typedef struct {
    double *times, *base;           /* SendHistory's own arrays; base: NaN before the first */
    int *sizes;
    uint16_t *sequences;
    uint32_t mask;
} step_history;

typedef struct {
    uint32_t count, lost;
    uint64_t octets, lost_octets;   /* that came, that did not */
    double delay, tail, newest, last_sent;
    double first_sent, first_came;  /* of the first packet that came */
    double sent[8192], came[8192];  /* s; came is NaN for a lost one */
    int size[8192];
} step_digest;

typedef struct {
    int state;
    double jitter, threshold;
    double first_sent, sent, first_arrived, arrived, last_sent, last_arrived;
    double delay, smoothed, previous, over, last_point, zero;
    double sx, sy, sxy, sxx;
    int count, above, points, oldest;
    double xs[20], ys[20];
} step_trend;

/* What feedback of one subscriber told since Python was last told: of several of them while its link is calm. */
struct step_link {
    const step_history *history;
    step_trend *trend;
    step_digest *digest;            /* of the last feedback */
    uint32_t ssrc;                  /* sender of the feedback, known to Python; 0: none yet */
    uint8_t calm;                   /* all that is wanted is carried, and more: nothing is decided by the next feedback */
    uint8_t fed;                    /* the trend has followed the last feedback already */
    uint8_t told;                   /* Python has taken it */
    double base;                    /* least delay known, s; with both clocks' offset */
    double told_at, heard, gap;     /* when Python was told, when the last feedback came, and how long after the one before it */
    double before;                  /* newest arrival before the last feedback */
    uint32_t count, lost;
    uint64_t octets, lost_octets;
    double delay, tail, newest, last_sent, first_sent, first_came;
};

/* What FeedbackBuilder keeps (twcc.py), for feedback about packets that came in order: all else is Python's. */
struct step_builder {
    int64_t highest, next;          /* unwrapped; highest -1: nothing yet */
    uint8_t count;
    uint32_t recent_at;             /* of reported ones, a ring of sequence and arrival in us */
    int64_t recent[256], recent_us[256];
};

int step_build(step_builder *builder, step_endpoint *endpoint, uint32_t sender, uint32_t media, uint8_t *out);
int step_quiet(const uint8_t *packet, uint32_t size);
int step_told(step_link *link, const uint8_t *packet, uint32_t size, double now);
int step_feedback(const uint8_t *body, uint32_t size, const step_history *history, step_digest *digest);
void step_trend_restart(step_trend *trend);
int step_trend_feed(step_trend *trend, const step_digest *digest);

step_seal *step_seal_new(step_srtp protect, void *session);
int step_seal_gcm(step_seal *seal, const step_crypto *crypto, const uint8_t *key, uint32_t size, const uint8_t *salt);
void step_seal_free(step_seal *seal);
int step_protect(step_seal *seal, void *packet, int *length);

step *step_new(int fd, int reports, step_srtp unprotect, step_srtp unprotect_rtcp, step_srtp protect_rtcp, double pace, int batch);
void step_free(step *s);
uint64_t step_unsent(const step *s);
int step_know(step *s, const void *address, step_endpoint *endpoint);
void step_forget(step *s, const void *address);
step_endpoint *step_endpoint_new(void);
void step_endpoint_free(step_endpoint *endpoint);
int step_stream_add(step_endpoint *endpoint, step_stream *stream);
void step_stream_drop(step_endpoint *endpoint, step_stream *stream);
step_stream *step_stream_new(uint32_t slots);
void step_stream_free(step_stream *stream);
int step_stream_to(step_stream *stream, step_forwarder **forwarders, uint32_t count);
int step_keep(step_stream *stream, uint32_t slot, const uint8_t *head, const uint8_t *payload, uint32_t size);
int step_send_rtcp(step *s, step_endpoint *endpoint, const uint8_t *packet, uint32_t size);
uint32_t step_stun(const step_endpoint *endpoint, const uint8_t *request, uint32_t size, const void *from, uint8_t *answer);
void step_sha1(const uint8_t *key, uint32_t key_size, const uint8_t *data, uint32_t size, uint8_t *digest);
uint32_t step_round(step *s, step_endpoint *const *endpoints, uint32_t count, double now, uint32_t *turns);
int step_pump(step *s, int *left, step_event *event);
int step_settle(step *s, int *left, step_event *event);
int step_rest(step *s, step_event *event);
int step_wait(step *s, int epoll, double timeout, step_event *event);
