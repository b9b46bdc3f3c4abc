#include "dataplane/store/store.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/check.h"
#include "common/counters.h"
#include "common/limits.h"
#include "common/mpsc.h"
#include "dataplane/store/arena.h"

enum {
    CACHE_LINE = 64,
    HUGEPAGE_BYTES = 2 << 20,
    GRANULE_BYTES_MIN = 4096,
    GRANULES_MAX = 1 << 20,      /* per arena: bounds the bitmap that a search walks (128 KiB) */
    OBJECTS_MIN_GRANULES = 4096, /* smaller arenas have an object header for each granule … */
    OBJECTS_SHIFT = 1,           /* … larger ones for every second */
    OBJECT_ID_SHARD_SHIFT = 48,  /* ids: a flag that blob_init() never sets, shard, count */
    RETIRED_MAX = 4096           /* waiting per shard; a power of two */
};

static const uint64_t OBJECT_ID_FLAG = UINT64_C(1) << 63;

/* One header of the fixed pool, out of line so that the media memory holds nothing but bytes.
 * Cache line by who writes it: 'refs' by all shards, the rest by the home shard before sealing. */
struct object {
    _Alignas(CACHE_LINE) atomic_uint refs;
    uint32_t size;
    uint8_t *data;
    uint16_t *sums; /* in the same run, behind the data */
    struct store_shard *home;
    uint32_t index; /* among all arenas' objects: slot in each reader's 'view_of' */
    uint32_t first_granule;
    uint32_t granule_count;
    bool is_sealed;
    struct object *next_free;
    uint64_t id; /* of all views: see struct blob */
};
static_assert(sizeof(struct object) == CACHE_LINE, "one line");

/* A shard's blob on an object. */
struct view {
    struct blob blob;
    struct object *object;
    struct store_shard *reader;
};

struct retired {
    uint64_t epoch; /* every online shard must have seen it */
    void (*free_function)(void *argument);
    void *argument;
};

struct store_shard {
    /* 0: offline; else the newest epoch at which this shard held no reference into snapshots.
     * Written by the shard, read by all that retire. */
    _Alignas(CACHE_LINE) _Atomic uint64_t seen_epoch;

    _Alignas(CACHE_LINE) struct store *store;
    struct counters *counters; /* NULL until attached */
    struct blob_home *blob_home;
    uint8_t *memory;
    uint64_t size_bytes;
    _Atomic uint64_t used_bytes; /* relaxed: a gauge */
    struct arena arena;
    struct object *objects;
    struct object *free_objects;
    uint32_t object_count;
    uint64_t objects_made;
    struct mpsc *returns; /* struct object *; holds all objects of this arena, so never full */

    struct view *views;
    uint32_t view_count;
    struct list free_views; /* through blob.draining, unused while free */
    uint32_t *view_of;      /* by object index: index in 'views' + 1; 0: none */

    struct retired *retired; /* ring of RETIRED_MAX, oldest first: epochs ascend */
    uint32_t retired_head;
    uint32_t retired_count;
};

struct store {
    _Alignas(CACHE_LINE) _Atomic uint64_t epoch; /* counted up by each retirement */
    _Alignas(CACHE_LINE) uint8_t *memory;
    size_t mapped_bytes;
    uint32_t granule_bytes;
    uint32_t shard_count;
    uint32_t object_count; /* of all arenas */
    struct store_shard *shards;
};

/* --- set-up --- */

/* Hugepages are used only when all of them can be had now: a later fault without one would kill
 * the process (SIGBUS). */
static uint8_t *map_hugepages(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (21 << MAP_HUGE_SHIFT), -1, 0);

    if (memory == MAP_FAILED)
        return NULL;
    if (madvise(memory, size, MADV_POPULATE_WRITE) == 0)
        return memory;
    munmap(memory, size);
    return NULL;
}

static uint8_t *map_memory(size_t size)
{
    uint8_t *huge = map_hugepages(size);

    if (huge != NULL)
        return huge;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    (void)madvise(memory, size, MADV_HUGEPAGE); /* only a wish */
    return memory;
}

static uint32_t round_up_power_of_two(uint32_t n)
{
    uint32_t power = 2;

    while (power < n)
        power *= 2;
    return power;
}

static int shard_setup(struct store *store, uint32_t index, uint32_t granule_count,
                       uint32_t object_count, uint32_t view_count)
{
    struct store_shard *s = &store->shards[index];

    s->store = store;
    s->size_bytes = (uint64_t)granule_count * store->granule_bytes;
    s->memory = store->memory + s->size_bytes * index;
    s->object_count = object_count;
    s->view_count = view_count;
    list_init(&s->free_views);
    if (arena_init(&s->arena, granule_count) < 0)
        return -ENOMEM;
    s->objects = aligned_alloc(CACHE_LINE, (size_t)object_count * sizeof(*s->objects));
    s->returns = mpsc_new(round_up_power_of_two(object_count), sizeof(struct object *));
    s->views = calloc(view_count, sizeof(*s->views));
    s->view_of = calloc(store->object_count, sizeof(*s->view_of));
    s->retired = calloc(RETIRED_MAX, sizeof(*s->retired));
    if (s->objects == NULL || s->returns == NULL || s->views == NULL || s->view_of == NULL ||
        s->retired == NULL)
        return -ENOMEM;

    for (uint32_t i = object_count; i-- > 0;) {
        struct object *o = &s->objects[i];
        *o = (struct object){
            .home = s, .index = index * object_count + i, .next_free = s->free_objects};
        s->free_objects = o;
    }
    for (uint32_t i = 0; i < view_count; i++)
        list_push_back(&s->free_views, &s->views[i].blob.draining);
    return 0;
}

static void shard_teardown(struct store_shard *s)
{
    arena_fini(&s->arena);
    free(s->objects);
    mpsc_free(&s->returns);
    free(s->views);
    free(s->view_of);
    free(s->retired);
}

struct store *store_new(uint64_t memory_bytes, uint32_t shard_count, uint32_t views_per_shard)
{
    CHECK(shard_count > 0 && shard_count <= SHARDS_MAX && views_per_shard > 0);
    struct store *store = aligned_alloc(CACHE_LINE, sizeof(*store));

    if (store == NULL)
        return NULL;
    *store = (struct store){.epoch = 1, .shard_count = shard_count};
    uint64_t granule_bytes = GRANULE_BYTES_MIN;
    while (memory_bytes / shard_count / granule_bytes > GRANULES_MAX)
        granule_bytes *= 2;
    uint32_t granule_count = (uint32_t)(memory_bytes / shard_count / granule_bytes);
    if (granule_count == 0)
        granule_count = 1;
    uint32_t object_count =
        granule_count <= OBJECTS_MIN_GRANULES ? granule_count : granule_count >> OBJECTS_SHIFT;
    store->granule_bytes = (uint32_t)granule_bytes;
    store->object_count = object_count * shard_count;
    uint64_t needed_bytes = granule_bytes * granule_count * shard_count;
    store->mapped_bytes =
        (size_t)((needed_bytes + HUGEPAGE_BYTES - 1) / HUGEPAGE_BYTES * HUGEPAGE_BYTES);
    store->memory = map_memory(store->mapped_bytes);
    store->shards = aligned_alloc(CACHE_LINE, shard_count * sizeof(*store->shards));
    if (store->memory == NULL || store->shards == NULL) {
        store->shard_count = 0;
        store_free(&store);
        return NULL;
    }
    memset(store->shards, 0, shard_count * sizeof(*store->shards));
    for (uint32_t i = 0; i < shard_count; i++) {
        if (shard_setup(store, i, granule_count, object_count, views_per_shard) < 0) {
            store_free(&store);
            return NULL;
        }
    }
    return store;
}

void store_free(struct store **pstore)
{
    struct store *store = *pstore;

    *pstore = NULL;
    if (store == NULL)
        return;
    for (uint32_t i = 0; i < store->shard_count; i++)
        shard_teardown(&store->shards[i]);
    free(store->shards);
    if (store->memory != NULL)
        munmap(store->memory, store->mapped_bytes);
    free(store);
}

struct store_shard *store_shard_attach(struct store *store, uint32_t shard,
                                       struct counters *counters, struct blob_home *home)
{
    CHECK(shard < store->shard_count && store->shards[shard].counters == NULL);
    struct store_shard *s = &store->shards[shard];

    s->counters = counters;
    s->blob_home = home;
    counter_add(&counters->store_size_bytes, s->size_bytes);
    store_online(s);
    return s;
}

struct bytes store_memory(const struct store *store)
{
    return bytes_of(store->memory, store->mapped_bytes);
}

uint64_t store_shard_used_bytes(const struct store_shard *s)
{
    return atomic_load_explicit(&s->used_bytes, memory_order_relaxed);
}

uint64_t store_shard_size_bytes(const struct store_shard *s)
{
    return s->size_bytes;
}

/* --- objects --- */

static size_t sum_count(uint32_t size)
{
    return size / BLOB_SUM_STRIDE + 1;
}

static void shard_set_used(struct store_shard *s)
{
    uint64_t used_bytes =
        (uint64_t)(s->arena.count - s->arena.free_count) * s->store->granule_bytes;

    atomic_store_explicit(&s->used_bytes, used_bytes, memory_order_relaxed);
    atomic_store_explicit(&s->counters->store_used_bytes, used_bytes, memory_order_relaxed);
}

static void shard_take_returns(struct store_shard *s)
{
    struct object *o;
    bool any = false;

    while (mpsc_pop(s->returns, &o)) {
        arena_give(&s->arena, o->first_granule, o->granule_count);
        o->next_free = s->free_objects;
        s->free_objects = o;
        counter_dec(&s->counters->store_objects);
        counter_inc(&s->counters->store_returns);
        any = true;
    }
    if (any)
        shard_set_used(s);
}

static struct object *object_take(struct store_shard *home, uint32_t size,
                                  uint32_t (*take)(struct arena *a, uint32_t count))
{
    shard_take_returns(home);
    struct object *o = home->free_objects;

    if (o == NULL) {
        counter_inc(&home->counters->store_object_pool_empty);
        return NULL;
    }
    uint64_t sums_offset = ((uint64_t)size + 1) & ~UINT64_C(1);
    uint64_t needed_bytes = sums_offset + sum_count(size) * sizeof(uint16_t);
    uint32_t granule_bytes = home->store->granule_bytes;
    uint32_t granule_count = (uint32_t)((needed_bytes + granule_bytes - 1) / granule_bytes);
    uint32_t first = take(&home->arena, granule_count);
    if (first == ARENA_NONE) {
        counter_inc(&home->counters->store_arena_full);
        return NULL;
    }

    home->free_objects = o->next_free;
    o->next_free = NULL;
    o->size = size;
    o->id = OBJECT_ID_FLAG | (uint64_t)(home - home->store->shards) << OBJECT_ID_SHARD_SHIFT |
            ++home->objects_made;
    o->data = home->memory + (uint64_t)first * granule_bytes;
    o->sums = (uint16_t *)(void *)(o->data + sums_offset);
    o->first_granule = first;
    o->granule_count = granule_count;
    o->is_sealed = false;
    atomic_store_explicit(&o->refs, 1, memory_order_relaxed);
    counter_inc(&home->counters->store_objects);
    shard_set_used(home);
    return o;
}

struct object *object_new(struct store_shard *home, uint32_t size)
{
    return object_take(home, size, arena_take);
}

struct object *object_new_brief(struct store_shard *home, uint32_t size)
{
    return object_take(home, size, arena_take_high);
}

uint8_t *object_data(struct object *o)
{
    return o->data;
}

uint32_t object_size(const struct object *o)
{
    return o->size;
}

void object_trim(struct object *o, uint32_t size)
{
    CHECK(!o->is_sealed && size <= o->size);
    struct store_shard *s = o->home;
    uint64_t sums_offset = ((uint64_t)size + 1) & ~UINT64_C(1);
    uint64_t needed_bytes = sums_offset + sum_count(size) * sizeof(uint16_t);
    uint32_t granule_bytes = s->store->granule_bytes;
    uint32_t granule_count = (uint32_t)((needed_bytes + granule_bytes - 1) / granule_bytes);

    o->size = size;
    o->sums = (uint16_t *)(void *)(o->data + sums_offset);
    if (granule_count < o->granule_count) {
        arena_give(&s->arena, o->first_granule + granule_count, o->granule_count - granule_count);
        o->granule_count = granule_count;
        shard_set_used(s);
    }
}

uint64_t object_held_bytes(const struct object *o)
{
    return (uint64_t)o->granule_count * o->home->store->granule_bytes;
}

/* RFC 1071 2(B): the sum does not depend on byte order, so native words are added and the folded
 * result is swapped. 16 words of 32 bits each leave the 64-bit sum far from overflow: a 4 GiB
 * object adds up to less than 2^62. */
static void fill_sums(const uint8_t *data, uint32_t size, uint16_t *sums)
{
    uint64_t sum = 0;

    sums[0] = 0;
    for (uint32_t i = 1; i <= size / BLOB_SUM_STRIDE; i++) {
        uint32_t words[BLOB_SUM_STRIDE / 4];
        memcpy(words, data, sizeof(words));
        for (size_t w = 0; w < ARRAY_COUNT(words); w++)
            sum += words[w];
        data += BLOB_SUM_STRIDE;
        uint64_t folded = (sum & UINT32_MAX) + (sum >> 32);
        folded = (folded & 0xffff) + (folded >> 16 & 0xffff) + (folded >> 32);
        folded = (folded & 0xffff) + (folded >> 16);
        folded = (folded & 0xffff) + (folded >> 16);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        folded = __builtin_bswap16((uint16_t)folded);
#endif
        sums[i] = (uint16_t)folded;
    }
}

void object_seal(struct object *o)
{
    CHECK(!o->is_sealed);
    fill_sums(o->data, o->size, o->sums);
    o->is_sealed = true;
}

void object_ref(struct object *o)
{
    /* Relaxed: whoever calls this has a reference already, or an RCU section keeps one alive. */
    unsigned refs_before = atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);

    CHECK(refs_before > 0 && refs_before < UINT32_MAX);
}

void object_unref(struct object **po)
{
    struct object *o = *po;

    *po = NULL;
    if (o == NULL)
        return;
    /* acq_rel, pairs with itself: every reader's loads happen before the memory is reused. */
    unsigned refs_before = atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel);
    CHECK(refs_before > 0);
    if (refs_before > 1)
        return;
    bool pushed = mpsc_push(o->home->returns, &o);
    CHECK(pushed); /* it has room for every object of the arena */
}

/* --- views --- */

static void view_release(struct blob *b)
{
    struct view *view = CONTAINER_OF(b, struct view, blob);
    struct store_shard *reader = view->reader;

    reader->view_of[view->object->index] = 0;
    object_unref(&view->object);
    list_push_front(&reader->free_views, &b->draining);
    counter_dec(&reader->counters->store_views);
}

/* One more reference on a live view, or the first one on a view that waits for its last packets:
 * it has no reference, but its object is still held. */
static struct blob *view_again(struct view *view)
{
    if (view->blob.refs == 0)
        list_remove(&view->blob.draining);
    return blob_ref(&view->blob);
}

struct blob *object_view(struct store_shard *reader, struct object *o)
{
    DCHECK(o->is_sealed);
    uint32_t *slot = &reader->view_of[o->index];

    if (*slot != 0)
        return view_again(&reader->views[*slot - 1]);
    struct list *node = list_pop_front(&reader->free_views);
    if (node == NULL) {
        counter_inc(&reader->counters->store_view_pool_empty);
        return NULL;
    }
    struct blob *b = CONTAINER_OF(node, struct blob, draining);
    struct view *view = CONTAINER_OF(b, struct view, blob);
    blob_init(b, reader->blob_home, bytes_of(o->data, o->size), view_release, reader);
    b->sums = o->sums;
    b->id = o->id; /* the same bytes as the last view that there was */
    object_ref(o);
    view->object = o;
    view->reader = reader;
    *slot = (uint32_t)(view - reader->views) + 1;
    counter_inc(&reader->counters->store_views);
    return b;
}

/* --- quiescent states ---
 *
 * A writer unpublishes a pointer (release store), then counts the epoch up to E (seq_cst), then
 * frees once each shard's seen_epoch is 0 or >= E.
 *  - Quiescent: the reader loads the epoch, then stores it in seen_epoch (release). If it loaded E
 *    or more, that load synchronises with the writer's count, so its later loads see the pointer
 *    unpublished; its earlier loads happen before the writer's (acquire) load of seen_epoch.
 *  - Online: the reader first stores 1 (seq_cst), an epoch that holds back everything, then loads
 *    the epoch. In the one order of all seq_cst operations the writer's load of seen_epoch either
 *    comes after that store, and waits, or before it: then the reader's load of the epoch comes
 *    after the writer's count, and the case above applies. */

void store_quiescent(struct store_shard *s)
{
    uint64_t epoch = atomic_load_explicit(&s->store->epoch, memory_order_seq_cst);

    if (epoch != atomic_load_explicit(&s->seen_epoch, memory_order_relaxed))
        atomic_store_explicit(&s->seen_epoch, epoch, memory_order_release);
}

void store_offline(struct store_shard *s)
{
    atomic_store_explicit(&s->seen_epoch, 0, memory_order_release);
}

void store_online(struct store_shard *s)
{
    atomic_store_explicit(&s->seen_epoch, 1, memory_order_seq_cst);
    store_quiescent(s);
}

/* The newest epoch that every online shard has seen. */
static uint64_t store_oldest_seen(const struct store *store)
{
    uint64_t oldest = UINT64_MAX;

    for (uint32_t i = 0; i < store->shard_count; i++) {
        uint64_t seen = atomic_load_explicit(&store->shards[i].seen_epoch, memory_order_seq_cst);
        if (seen != 0 && seen < oldest)
            oldest = seen;
    }
    return oldest;
}

static void shard_run_retired(struct store_shard *s)
{
    if (s->retired_count == 0)
        return;
    uint64_t oldest = store_oldest_seen(s->store);

    while (s->retired_count > 0) {
        struct retired r = s->retired[s->retired_head % RETIRED_MAX];
        if (r.epoch > oldest)
            break;
        s->retired_head++;
        s->retired_count--;
        counter_dec(&s->counters->store_retire_waiting);
        r.free_function(r.argument); /* may retire more */
    }
}

int store_retire(struct store_shard *s, void (*free_function)(void *argument), void *argument)
{
    if (s->retired_count == RETIRED_MAX) {
        counter_inc(&s->counters->store_retire_full);
        return -ENOSPC;
    }
    /* Partner: the loads in store_quiescent() and store_online(). */
    uint64_t epoch = atomic_fetch_add_explicit(&s->store->epoch, 1, memory_order_seq_cst) + 1;
    s->retired[(s->retired_head + s->retired_count) % RETIRED_MAX] =
        (struct retired){.epoch = epoch, .free_function = free_function, .argument = argument};
    s->retired_count++;
    counter_inc(&s->counters->store_retire_waiting);
    return 0;
}

void store_poll(struct store_shard *s)
{
    shard_run_retired(s);
    shard_take_returns(s);
}
