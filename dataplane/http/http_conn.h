/* http_conn.h - one HTTP connection and how routes answer on it. Internal to dataplane/http.
 *
 *   accept             IDLE     no request under way
 *   some of a head     READING  holds an input buffer until the head is complete
 *   a whole head       -        routed at once: answered, or
 *   not there yet      WAITING  on a channel's list, until ready or timed out
 *   body to send       SENDING  until the transport has taken all of it
 *   response done      IDLE     or, when it was the last, CLOSING until the closed event
 */
#ifndef DATAPLANE_HTTP_HTTP_CONN_H
#define DATAPLANE_HTTP_HTTP_CONN_H

#include "common/blob.h"
#include "common/limits.h"
#include "common/wheel.h"
#include "dataplane/http/http_head.h"
#include "dataplane/http/http_request.h"
#include "dataplane/http/http_server.h"
#include "dataplane/media/channel.h"

struct counters;
struct http_pages;
struct http_text;
struct object;
struct stream;

enum {
    HTTP_TRACK_NAME_MAX = 16, /* as in struct track_snapshot, with the NUL */
    HTTP_LISTENERS_MAX = 8,
    HTTP_LINGER_US = 2000000, /* how long a peer may take to close after we did */
    HTTP_BODY_MAX = 65536,    /* a request body up to this is skipped */
    HTTP_BLANK_LINES_MAX = 4, /* tolerated before a request line (RFC 9112 2.2) */
    HTTP_GATHER_MAX = EXTENTS_PER_SEND_MAX
};

enum http_phase { HTTP_IDLE, HTTP_READING, HTTP_WAITING, HTTP_SENDING, HTTP_CLOSING };

enum http_framing { HTTP_FRAMING_LENGTH, HTTP_FRAMING_CHUNKED, HTTP_FRAMING_UNTIL_CLOSE };

/* What of a response's body is still to be queued. Holds no pointer into a snapshot: a segment
 * is looked up again each time. */
struct http_body {
    struct blob *blob;      /* a reference, or NULL */
    struct http_text *text; /* owned, or NULL; neither: the segment in http_conn.live */
    uint64_t left;          /* bytes; UINT64_MAX: until the segment is complete */
    uint32_t part;          /* next part of the segment, or blob of the text … */
    uint32_t offset;        /* … and the offset in the part, or in the blob */
    uint8_t framing;        /* enum http_framing */
};

/* What a live request asked for; kept while it waits or while its segment is sent. */
struct live_request {
    struct channel *channel;
    uint64_t generation; /* of the channel's slot */
    uint64_t number;     /* MSN or init id; of a playlist: _HLS_msn */
    uint32_t part;       /* of a playlist: _HLS_part */
    uint8_t kind;        /* enum live_kind */
    bool has_msn;        /* playlist: _HLS_msn was given */
    bool has_part;       /* playlist: _HLS_part was given */
    bool wants_delta;    /* playlist: _HLS_skip was given */
    char track[HTTP_TRACK_NAME_MAX];
};

/* A head that is being read, and requests behind the one that is being answered. */
struct http_input {
    struct list link; /* in server.free_inputs, or in .partial_inputs, oldest first */
    struct http_conn *conn;
    uint32_t size;
    struct http_head_scan scan; /* of the head at its start */
    uint8_t data[];
};

struct http_conn {
    struct stream *stream;
    struct http_server *server;
    struct http_input *input; /* borrowed from the server's pool, or NULL */
    struct timer timer;
    uint64_t since_us;    /* when the phase began */
    uint64_t progress_us; /* when the peer was last seen to take bytes */
    uint64_t sent_bytes;  /* queued to the transport in all */
    uint64_t taken_bytes; /* of these, those gone when last looked at */
    uint64_t body_left;   /* of a request: still to be skipped */
    uint64_t wait_us;     /* WAITING: how long at most */
    struct blob *head;    /* response head still to be queued, or NULL */
    struct http_body body;
    struct live_request live;
    struct channel_waiter waiter;
    struct list link;     /* in server.free_conns */
    uint32_t viewer_slot; /* for channel_count_viewer() */
    uint8_t phase;        /* enum http_phase */
    uint8_t role;         /* enum http_role */
    uint8_t blank_lines;  /* before the next request line */
    bool is_head;         /* the request under way is a HEAD */
    bool is_http_1_0;
    bool must_close; /* after this response */
    bool is_eof;     /* the peer sends no more */
    bool is_aborted;
    bool is_paused;     /* receiving */
    bool is_running;    /* in conn_run(): do not recurse */
    bool is_overflowed; /* input was discarded: close once the rest is answered */
};
static_assert(sizeof(struct http_conn) <= 256, "an idle viewer, with its stream: 1 KiB");

/* --- for routes: exactly one of these answers a request --- */

/* A short text with a newline added. 'retry_after_s' 0: none. */
__attribute__((format(printf, 4, 5))) void http_reply_text(struct http_conn *c, unsigned status,
                                                           unsigned retry_after_s,
                                                           const char *format, ...);

/* 'head' with the whole of 'body' (borrowed). With 'r' (may be NULL: ignored), 200 becomes 206,
 * 304, 412 or 416 as its preconditions and range say; head->etag must be set for that. */
void http_reply_blob(struct http_conn *c, const struct http_request *r, struct http_head *head,
                     struct blob *body);

/* 'head' alone: 204, or a preflight. */
void http_reply_empty(struct http_conn *c, struct http_head *head);

/* 'head', then what is in c->body: the segment in c->live, or a text. */
void http_reply_body(struct http_conn *c, struct http_head *head);

/* What 'r' makes of a representation of 'size' bytes with head->etag: fills in the head for 200,
 * 206, 304, 412 or 416 and returns where the bytes to send start; head->content_length is their
 * number. */
uint64_t http_apply_conditions(const struct http_request *r, struct http_head *head, uint64_t size);

/* Turns the connection to WAITING, or keeps it there, for at most 'wait_us' in all. */
void http_conn_wait(struct http_conn *c, uint64_t wait_us);

/* The response under way cannot be completed: the connection is reset. */
void http_conn_abort(struct http_conn *c);

/* stream_send() with the accounting that finds stalled peers. Errors as there. */
int http_conn_send(struct http_conn *c, const struct extent *extents, size_t count);

/* Queues as much of the response as the transport takes. */
void http_conn_pump(struct http_conn *c);

/* Goes on with what came in meanwhile, after an answer from outside of a data event. */
void http_conn_resume(struct http_conn *c);

/* Every change of phase goes through here: keeps since_us and the gauge of waiting requests. */
void http_conn_set_phase(struct http_conn *c, enum http_phase phase);

/* The response is complete: the next request, or an orderly close. */
void http_conn_done(struct http_conn *c);

/* Makes sure that the connection's timer fires at 'deadline_us' or earlier. */
void http_conn_arm(struct http_conn *c, uint64_t deadline_us);

struct counters *http_conn_counters(const struct http_conn *c);

/* --- gathering extents for one send --- */

struct http_gather {
    struct extent extents[HTTP_GATHER_MAX]; /* each with its own reference */
    size_t count;
    uint64_t bytes;
    uint64_t budget; /* stop when this many are gathered */
};

/* Consumes one reference on 'blob'. */
void http_gather_add(struct http_gather *g, struct blob *blob, uint32_t offset, uint32_t size);

/* Lets go of what is left of the response. */
void http_conn_drop_response(struct http_conn *c);

enum http_gather_result {
    HTTP_GATHER_END,  /* that was all of the body */
    HTTP_GATHER_MORE, /* more is there, for another send */
    HTTP_GATHER_WAIT, /* the segment has no more yet */
    HTTP_GATHER_LOST  /* the rest is gone */
};

/* --- server internals shared by its files --- */

struct http_head_entry {
    struct http_head key;
    int64_t second;
    struct blob *blob;
};

struct http_chunk_entry {
    uint32_t size;
    struct blob *blob;
};

struct http_listener {
    struct http_server *server;
    enum http_role role;
};

struct http_server {
    struct shard *shard;
    struct channels *channels;
    struct http_conn *conns;
    uint32_t conn_count;
    struct list free_conns;
    uint8_t *input_memory;
    struct list free_inputs;
    struct list partial_inputs;
    uint32_t input_size; /* http.head_max */
    uint64_t head_timeout_us;
    uint64_t idle_timeout_us;
    uint64_t send_timeout_us;
    uint32_t queue_high_bytes; /* no more is queued to a stream above this */
    struct http_head_context context;
    int64_t date_second; /* of context.date */
    struct http_head_entry *heads;
    struct http_chunk_entry *chunks;
    uint32_t cache_mask;
    struct blob *chunk_end; /* CRLF, then "0" CRLF CRLF */
    struct http_text *texts;
    struct list free_texts;
    struct http_pages *pages;
    int64_t started_wall_us;
    struct http_listener listeners[HTTP_LISTENERS_MAX];
    uint32_t listener_count;
};

/* A reference to the rendered head, from the cache where it is there. NULL: out of blobs. */
struct blob *http_head_blob(struct http_server *server, const struct http_head *head);

/* A reference to the size line of a chunk of 'size' bytes. NULL: out of blobs. */
struct blob *http_chunk_blob(struct http_server *server, uint32_t size);

/* With the date of this second. */
const struct http_head_context *http_server_context(struct http_server *server);

/* A connection for 's', IDLE; NULL: all in use. And back to the pool, with all that it holds. */
struct http_conn *http_conn_open(struct http_server *server, struct stream *s, enum http_role role);
void http_conn_release(struct http_conn *c);
extern const struct stream_events http_conn_events;

/* Answers 'r', or turns the connection to WAITING. */
void http_route(struct http_conn *c, const struct http_request *r);

#endif
