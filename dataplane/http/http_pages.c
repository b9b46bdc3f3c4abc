#include "dataplane/http/http_pages.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/check.h"
#include "common/config/config.h"
#include "common/counters.h"
#include "common/log.h"
#include "dataplane/core/shard.h"
#include "dataplane/http/http_conditional.h"
#include "dataplane/store/store.h"

enum { DIRECTORY_MAX = 512, ASSET_MAX_AGE_S = 31536000 };

static const char assets_prefix[] = "/assets/";

struct page {
    char path[HTTP_PAGE_PATH_MAX];
    struct object *object;
    struct blob *blob; /* this shard's view, held for good */
    uint64_t etag;
    enum http_type type;
    bool is_immutable;       /* its name holds a hash of its content */
    const struct page *gzip; /* its compressed form; NULL: none */
};

struct http_pages {
    struct shard *shard;
    struct page pages[HTTP_PAGES_MAX];
    size_t count;
    uint64_t bytes;
};

/* As configured; else where they were installed, or, run from a source tree, built. */
static const char *pages_directory(const struct config *config)
{
    if (config->http_pages.text[0] != '\0')
        return config->http_pages.text;
    const char *from_environment = getenv("LEAT_PAGES");
    if (from_environment != NULL && from_environment[0] != '\0')
        return from_environment;
    return access(LEAT_PAGES_DIR, R_OK) == 0 ? LEAT_PAGES_DIR : LEAT_PAGES_BUILD_DIR;
}

static void log_skipped(const char *path, const char *why)
{
    log_warn("http", LOG_MSG("page is not served"), LOG_STR("file", path), LOG_STR("why", why));
}

/* Fills 'o' from 'fd'; false: the file is shorter, or cannot be read. */
static bool read_file(int fd, uint8_t *out, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t got = read(fd, out + done, size - done);
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

static const char *page_read(struct http_pages *pages, struct page *p, int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return "not a regular file";
    if (st.st_size <= 0 || st.st_size > HTTP_PAGE_BYTES_MAX ||
        pages->bytes + (uint64_t)st.st_size > HTTP_PAGES_BYTES_MAX)
        return "empty or too large";
    uint32_t size = (uint32_t)st.st_size;
    p->object = object_new(pages->shard->store, size);
    if (p->object == NULL)
        return "no memory in the store";
    bool is_read = read_file(fd, object_data(p->object), size);
    if (!is_read)
        memset(object_data(p->object), 0, size);
    object_seal(p->object);
    if (is_read)
        p->blob = object_view(pages->shard->store, p->object);
    if (p->blob == NULL) {
        object_unref(&p->object);
        return is_read ? "no view" : "cannot be read";
    }
    p->etag = http_hash_bytes(bytes_of(object_data(p->object), size));
    pages->bytes += size;
    return NULL;
}

/* Loads one directory entry as 'prefix' + its name. */
static void page_load(struct http_pages *pages, int directory_fd, const char *prefix,
                      const char *name)
{
    if (name[0] == '.')
        return;
    if (pages->count == HTTP_PAGES_MAX) {
        log_skipped(name, "too many files");
        return;
    }
    struct page *p = &pages->pages[pages->count];
    *p = (struct page){0};
    int length = snprintf(p->path, sizeof(p->path), "%s%s", prefix, name);
    if (length < 0 || (size_t)length >= sizeof(p->path)) {
        log_skipped(name, "name too long");
        return;
    }
    int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        log_skipped(p->path, "cannot be opened");
        return;
    }
    const char *why = page_read(pages, p, fd);
    close(fd);
    if (why != NULL) {
        log_skipped(p->path, why);
        return;
    }
    p->type = http_type_of_path(bytes_of_str(p->path));
    p->is_immutable = strncmp(p->path, assets_prefix, sizeof(assets_prefix) - 1) == 0;
    pages->count++;
}

/* Loads the regular files of 'directory'; its subdirectories are passed over. */
static int directory_load(struct http_pages *pages, const char *directory, const char *prefix)
{
    DIR *dir = opendir(directory);

    if (dir == NULL)
        return -errno;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_type != DT_DIR)
            page_load(pages, dirfd(dir), prefix, entry->d_name);
    closedir(dir);
    return 0;
}

static int page_compare(const void *a, const void *b)
{
    return strcmp(((const struct page *)a)->path, ((const struct page *)b)->path);
}

static const struct page *pages_find(const struct http_pages *pages, struct bytes path)
{
    struct page key;

    if (!bytes_to_str(path, key.path, sizeof(key.path)))
        return NULL;
    return bsearch(&key, pages->pages, pages->count, sizeof(struct page), page_compare);
}

static void pages_link_gzip(struct http_pages *pages)
{
    for (size_t i = 0; i < pages->count; i++) {
        char path[HTTP_PAGE_PATH_MAX + 4];
        snprintf(path, sizeof(path), "%s.gz", pages->pages[i].path);
        pages->pages[i].gzip = pages_find(pages, bytes_of_str(path));
    }
}

int http_pages_new(struct shard *s, struct http_pages **ret_pages)
{
    struct http_pages *pages = calloc(1, sizeof(*pages));
    const char *directory = pages_directory(s->config);
    char assets[DIRECTORY_MAX];

    if (pages == NULL)
        return -ENOMEM;
    pages->shard = s;
    int err = directory_load(pages, directory, "/");
    if (err == -ENOMEM) {
        free(pages);
        return err;
    }
    if (err < 0 || pages->count == 0) {
        if (s->index == 0)
            log_warn("http", LOG_MSG("no pages to serve: run './leat build' to build them"),
                     LOG_STR("directory", directory));
    } else {
        int length = snprintf(assets, sizeof(assets), "%s%s", directory, assets_prefix);
        if (length > 0 && (size_t)length < sizeof(assets))
            (void)directory_load(pages, assets, assets_prefix);
        qsort(pages->pages, pages->count, sizeof(struct page), page_compare);
        pages_link_gzip(pages);
        if (s->index == 0)
            log_info("http", LOG_MSG("pages loaded"), LOG_STR("directory", directory),
                     LOG_INT("files", pages->count), LOG_INT("bytes", pages->bytes));
    }
    *ret_pages = pages;
    return 0;
}

void http_pages_free(struct http_pages **ppages)
{
    struct http_pages *pages = *ppages;

    *ppages = NULL;
    if (pages == NULL)
        return;
    for (size_t i = 0; i < pages->count; i++) {
        blob_unref(&pages->pages[i].blob);
        object_unref(&pages->pages[i].object);
    }
    free(pages);
}

/* A channel name of the configuration: [A-Za-z0-9_-]{1,64}. */
static bool is_channel_name(struct bytes name)
{
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
              c == '_' || c == '-'))
            return false;
    }
    return name.size > 0 && name.size <= CHANNEL_NAME_MAX;
}

static bool ends_in_html(struct bytes path)
{
    return http_type_of_path(path) == HTTP_TYPE_HTML;
}

/* The file that a path stands for; empty: none. A page has one address, not that of its file
 * as well. */
static struct bytes page_path(struct bytes path)
{
    static const char watch[] = "/watch/";
    const size_t watch_size = sizeof(watch) - 1;

    if (bytes_equal_str(path, "/"))
        return bytes_of_str("/index.html");
    if (path.size > watch_size && memcmp(path.ptr, watch, watch_size) == 0)
        return is_channel_name(bytes_from(path, watch_size)) ? bytes_of_str("/watch.html")
                                                             : (struct bytes){0};
    return ends_in_html(path) ? (struct bytes){0} : path;
}

static void reply_page(struct http_conn *c, const struct http_request *r, const struct page *p)
{
    struct http_head head = {
        .type = (uint8_t)p->type,
        .cache = p->is_immutable ? HTTP_CACHE_IMMUTABLE : HTTP_CACHE_REVALIDATE,
        .max_age_s = p->is_immutable ? ASSET_MAX_AGE_S : 0,
        .flags = HTTP_HEAD_RANGES,
    };

    if (p->gzip != NULL)
        head.flags |= HTTP_HEAD_ENCODINGS;
    if (p->gzip != NULL && http_accepts_coding(r->accept_encoding, "gzip")) {
        head.flags |= HTTP_HEAD_GZIP;
        p = p->gzip;
    }
    head.etag = p->etag;
    http_reply_blob(c, r, &head, p->blob);
}

void http_pages_route(struct http_conn *c, const struct http_request *r)
{
    const struct http_pages *pages = c->server->pages;
    struct bytes path = page_path(r->path);

    counter_inc(&http_conn_counters(c)->http_requests_page);
    const struct page *p = pages_find(pages, path);
    if (p != NULL) {
        reply_page(c, r, p);
        return;
    }
    if (pages->count == 0 &&
        (bytes_equal_str(path, "/index.html") || bytes_equal_str(path, "/watch.html")))
        http_reply_text(c, 503, 0,
                        "The pages are not built. Run './leat build' and start Leat again. Live "
                        "streams are served all the same, below /live/.");
    else
        http_reply_text(c, 404, 0, "There is nothing here.");
}
