/* link.h - the data plane's end of the link to leatd. Lives on shard 0; other shards reach it
 * through their mailboxes. Never blocks: every question has a deadline and is answered, by leatd
 * or by a refusal with -ETIMEDOUT / -ENOTCONN. */
#ifndef DATAPLANE_LINK_LINK_H
#define DATAPLANE_LINK_LINK_H

#include "common/abi/link.h"
#include "common/bytes.h"

struct link;
struct shard;

/* Called on the asking shard. */
typedef void link_answer_function(struct shard *s, uint64_t cookie, enum link_verdict verdict);

/* Connects to (and keeps reconnecting to) leatd's link socket at 'path'; registers a poller with
 * shard 0. Call on shard 0's thread before shard_run(). 0 or -errno. */
int link_new(struct shard *shard0, const char *path, struct link **ret_link);
/* Once no shard runs any more, and before shard 0 is finished. */
void link_free(struct link **link);

/* May 'key' publish to 'name'? Any shard; the answer comes to that shard, never from inside the
 * call. -ENOBUFS: too many questions in flight; -EINVAL: name or key too long. */
int link_ask_publish(struct link *link, struct shard *asking, struct bytes name, struct bytes key,
                     link_answer_function *answer, uint64_t cookie);

/* Tells leatd what is live, for `leatctl channels`; once a second for each channel, and when it
 * ended. Borrows; copies. Lossy, any shard. */
void link_report_channel(struct link *link, struct shard *from,
                         const struct link_channel_report *report);

#endif
