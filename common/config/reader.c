/* Reads the YAML events of a configuration file in the one shape it may have:
 *
 *   SECTION: { KEY: SCALAR … } …      and      channels: { NAME: { key: SCALAR } … }
 *
 * The depth is fixed, so that nothing recurses; the first fault ends the reading. */
#include <errno.h>
#include <libfyaml.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/config/config.h"
#include "common/config/nearest.h"
#include "common/config/rules.h"
#include "common/config/value.h"
#include "common/utf8.h"

enum { KEYS_MAX = 256, SECTIONS_MAX = 64, PATH_MAX_SIZE = 160 };

struct reader {
    const char *file;
    char *error; /* CONFIG_ERROR_MAX bytes */
    struct fy_diag *diag;
    struct fy_parser *parser;
    struct fy_event *event; /* the current one; NULL: the end, or a syntax error */
    uint32_t line;          /* of 'event'; of the last event that had a place */
    struct config *cfg;
    uint32_t key_lines[KEYS_MAX]; /* where each key was set; 0: not */
    uint32_t section_lines[SECTIONS_MAX];
    uint32_t channels_line;
};

/* Puts "file:line: path: what" into the error. Returns -EINVAL. */
static int refuse_at(struct reader *r, uint32_t line, const char *path, const char *what)
{
    snprintf(r->error, CONFIG_ERROR_MAX, "%s:%u: %s%s%s", r->file, line, path,
             path[0] != '\0' ? ": " : "", what);
    return -EINVAL;
}

static int refuse(struct reader *r, const char *path, const char *what)
{
    return refuse_at(r, r->line, path, what);
}

static int refuse_second(struct reader *r, const char *path, uint32_t first_line)
{
    char what[64];

    snprintf(what, sizeof(what), "is already given on line %u", first_line);
    return refuse(r, path, what);
}

/* What the YAML library found wrong. */
static int refuse_syntax(struct reader *r)
{
    void *state = NULL;
    const struct fy_diag_error *e = fy_diag_errors_iterate(r->diag, &state);

    if (e == NULL)
        return refuse(r, "", "this is not valid YAML");
    return refuse_at(r, e->line > 0 ? (uint32_t)e->line : r->line, "", e->msg);
}

/* Steps to the next event. 0; -EINVAL: the text is not YAML, or uses what we do not allow. */
static int reader_next(struct reader *r)
{
    fy_parser_event_free(r->parser, r->event);
    r->event = fy_parser_parse(r->parser);
    if (r->event == NULL || fy_parser_get_stream_error(r->parser))
        return refuse_syntax(r);
    const struct fy_mark *mark = fy_event_start_mark(r->event);
    if (mark != NULL)
        r->line = (uint32_t)mark->line + 1;
    if (r->event->type == FYET_ALIAS)
        return refuse(r, "", "a value that begins with * is a YAML alias: put it in quotes");
    if (fy_event_get_anchor_token(r->event) != NULL)
        return refuse(r, "", "a value that begins with & is a YAML anchor: put it in quotes");
    if (fy_event_get_tag_token(r->event) != NULL)
        return refuse(r, "", "a value that begins with ! is a YAML tag: put it in quotes");
    return 0;
}

/* The text of the current scalar; borrowed until the next event. */
static struct bytes scalar_text(struct reader *r)
{
    size_t size = 0;
    const char *text = NULL;

    CHECK(r->event->type == FYET_SCALAR);
    if (r->event->scalar.value != NULL)
        text = fy_token_get_text(r->event->scalar.value, &size);
    return text == NULL ? bytes_of("", 0) : bytes_of(text, size);
}

static bool scalar_is_plain(struct reader *r)
{
    return r->event->scalar.value == NULL ||
           fy_token_scalar_style(r->event->scalar.value) == FYSS_PLAIN;
}

/* "name:" with nothing after it: a section whose keys are all commented out. */
static bool event_is_nothing(struct reader *r)
{
    return r->event->type == FYET_SCALAR && scalar_is_plain(r) && scalar_text(r).size == 0;
}

/* Makes sure that the current event is a mapping's key, a simple word. */
static int key_check(struct reader *r, const char *path)
{
    if (r->event->type != FYET_SCALAR)
        return refuse(r, path, "a name must be a simple word, not a list or a map");
    return 0;
}

/* "PATH.NAME", NAME from outside. */
static void path_join(const char *path, struct bytes name, char out[static PATH_MAX_SIZE])
{
    char quoted[PATH_MAX_SIZE / 2];
    struct writer w = writer_of(quoted, sizeof(quoted) - 1);

    config_quote(name, &w);
    /* Without the quotes: the name stands in a path. */
    snprintf(out, PATH_MAX_SIZE, "%s%s%.*s", path, path[0] != '\0' ? "." : "",
             w.size >= 2 ? (int)w.size - 2 : 0, quoted + 1);
}

static int refuse_unknown(struct reader *r, const char *path, const char *thing,
                          struct bytes nearest)
{
    char what[CONFIG_WHAT_MAX];

    snprintf(what, sizeof(what), "there is no such %s; the nearest is %.*s", thing,
             (int)nearest.size, (const char *)nearest.ptr);
    return refuse(r, path, what);
}

/* A key that this section has not. One of the same name elsewhere is the better guess when nothing
 * here is close. */
static int refuse_unknown_key(struct reader *r, const char *section, struct bytes name,
                              const char *path)
{
    size_t count = 0;
    const struct config_key *keys = config_keys(&count);
    struct nearest nearest = nearest_of(name);
    char elsewhere[PATH_MAX_SIZE] = "";

    for (size_t i = 0; i < count; i++) {
        if (strcmp(keys[i].section, section) == 0)
            nearest_offer(&nearest, bytes_of_str(keys[i].name));
        else if (bytes_equal_str(name, keys[i].name) && elsewhere[0] == '\0')
            snprintf(elsewhere, sizeof(elsewhere), "%s.%s", keys[i].section, keys[i].name);
    }
    if (nearest.distance > 2 && elsewhere[0] != '\0')
        return refuse_unknown(r, path, "key", bytes_of_str(elsewhere));
    return refuse_unknown(r, path, "key", nearest.best);
}

static const char *kind_of_event(const struct fy_event *e)
{
    return e->type == FYET_SEQUENCE_START ? "a list" : "a map";
}

/* The current event is the value of 'key'. */
static int read_value(struct reader *r, const struct config_key *key, const char *path)
{
    char what[CONFIG_WHAT_MAX];

    if (r->event->type != FYET_SCALAR) {
        snprintf(what, sizeof(what), "expected one value, found %s", kind_of_event(r->event));
        return refuse(r, path, what);
    }
    if (config_value_parse(key, scalar_text(r), scalar_is_plain(r), (char *)r->cfg + key->offset,
                           what) < 0)
        return refuse(r, path, what);
    return 0;
}

/* The current event is a key's name in 'section'. Leaves the event of its value current. */
static int read_key(struct reader *r, const char *section)
{
    size_t count = 0;
    const struct config_key *keys = config_keys(&count);
    char path[PATH_MAX_SIZE];

    if (key_check(r, section) < 0)
        return -EINVAL;
    struct bytes name = scalar_text(r);
    path_join(section, name, path);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(keys[i].section, section) != 0 || !bytes_equal_str(name, keys[i].name))
            continue;
        if (r->key_lines[i] != 0)
            return refuse_second(r, path, r->key_lines[i]);
        r->key_lines[i] = r->line;
        return reader_next(r) < 0 ? -EINVAL : read_value(r, &keys[i], path);
    }
    return refuse_unknown_key(r, section, name, path);
}

/* Steps into the mapping that is the value of 'path'. 0: nothing in it; 1: its first event is
 * current, which may be its end; -EINVAL: not a mapping. */
static int mapping_enter(struct reader *r, const char *path, const char *expected)
{
    if (reader_next(r) < 0)
        return -EINVAL;
    if (event_is_nothing(r))
        return 0;
    if (r->event->type != FYET_MAPPING_START)
        return refuse(r, path, expected);
    return reader_next(r) < 0 ? -EINVAL : 1;
}

static int read_section(struct reader *r, const char *section)
{
    int inside = mapping_enter(r, section, "expected keys and values below the section's name");

    if (inside <= 0)
        return inside;
    while (r->event->type != FYET_MAPPING_END)
        if (read_key(r, section) < 0 || reader_next(r) < 0)
            return -EINVAL;
    return 0;
}

/* Reads "{ key: … }" of a channel. Its value is a secret: no message may show it. */
static int read_channel_key(struct reader *r, const char *path, char out[static STREAM_KEY_MAX + 1])
{
    bool is_given = false;
    int inside = mapping_enter(r, path, "expected \"key: …\" below the channel's name");
    char key_path[PATH_MAX_SIZE];

    if (inside < 0)
        return inside;
    while (inside > 0 && r->event->type != FYET_MAPPING_END) {
        if (key_check(r, path) < 0)
            return -EINVAL;
        path_join(path, scalar_text(r), key_path);
        if (!bytes_equal_str(scalar_text(r), "key"))
            return refuse_unknown(r, key_path, "key", bytes_of_str("key"));
        if (is_given)
            return refuse(r, key_path, "is given twice");
        is_given = true;
        if (reader_next(r) < 0)
            return -EINVAL;
        if (r->event->type != FYET_SCALAR || event_is_nothing(r) ||
            !bytes_to_str(scalar_text(r), out, STREAM_KEY_MAX + 1))
            return refuse(r, key_path, "must be a text of 1 to 128 bytes");
        if (reader_next(r) < 0)
            return -EINVAL;
    }
    return is_given ? 0 : refuse(r, path, "has no key: nobody could publish to it");
}

static int read_channel(struct reader *r)
{
    char name[CHANNEL_NAME_MAX + 1];
    char key[STREAM_KEY_MAX + 1] = "";
    char path[PATH_MAX_SIZE];
    uint32_t line = r->line;

    if (key_check(r, "channels") < 0)
        return -EINVAL;
    path_join("channels", scalar_text(r), path);
    if (!bytes_to_str(scalar_text(r), name, sizeof(name)) || !config_channel_name_is_valid(name))
        return refuse(r, path, "a channel's name is 1 to 64 of A-Z a-z 0-9 _ -");
    if (config_find_channel(r->cfg, bytes_of_str(name)) != NULL)
        return refuse(r, path, "is given twice");
    if (read_channel_key(r, path, key) < 0)
        return -EINVAL;
    int status = config_add_channel(r->cfg, name, key);
    explicit_bzero(key, sizeof(key));
    if (status == -EINVAL)
        return refuse_at(r, line, path, "its key must be printable ASCII without spaces");
    return status == -ENOSPC ? refuse_at(r, line, path, "there are more than 1024 channels") : 0;
}

static int read_channels(struct reader *r)
{
    if (r->channels_line != 0)
        return refuse_second(r, "channels", r->channels_line);
    r->channels_line = r->line;
    int inside = mapping_enter(r, "channels", "expected \"NAME: { key: … }\" below channels");
    if (inside <= 0)
        return inside;
    while (r->event->type != FYET_MAPPING_END)
        if (read_channel(r) < 0 || reader_next(r) < 0)
            return -EINVAL;
    return 0;
}

/* The current event is a section's name. Leaves the last event of its value current. */
static int read_named_section(struct reader *r)
{
    size_t count = 0;
    const struct config_section *sections = config_sections(&count);
    char path[PATH_MAX_SIZE];

    if (key_check(r, "") < 0)
        return -EINVAL;
    struct bytes name = scalar_text(r);
    struct nearest nearest = nearest_of(name);
    if (bytes_equal_str(name, "channels"))
        return read_channels(r);
    for (size_t i = 0; i < count; i++) {
        nearest_offer(&nearest, bytes_of_str(sections[i].name));
        if (!bytes_equal_str(name, sections[i].name))
            continue;
        if (r->section_lines[i] != 0)
            return refuse_second(r, sections[i].name, r->section_lines[i]);
        r->section_lines[i] = r->line;
        return read_section(r, sections[i].name);
    }
    nearest_offer(&nearest, bytes_of_str("channels"));
    path_join("", name, path);
    return refuse_unknown(r, path, "section", nearest.best);
}

/* The current event is the document's only node. */
static int read_root(struct reader *r)
{
    if (event_is_nothing(r))
        return reader_next(r);
    if (r->event->type != FYET_MAPPING_START)
        return refuse(r, "", "expected sections such as \"http:\" at the left margin");
    if (reader_next(r) < 0)
        return -EINVAL;
    while (r->event->type != FYET_MAPPING_END)
        if (read_named_section(r) < 0 || reader_next(r) < 0)
            return -EINVAL;
    return reader_next(r);
}

static int read_stream(struct reader *r)
{
    if (reader_next(r) < 0 || reader_next(r) < 0) /* stream start, and what follows it */
        return -EINVAL;
    if (r->event->type == FYET_DOCUMENT_START &&
        (reader_next(r) < 0 || read_root(r) < 0 || reader_next(r) < 0))
        return -EINVAL;
    if (r->event->type != FYET_STREAM_END)
        return refuse(r, "", "there is a second YAML document; a file holds one");
    return 0;
}

static uint32_t key_line(const struct reader *r, const struct config_key *key)
{
    size_t count = 0;

    return key == NULL ? 0 : r->key_lines[key - config_keys(&count)];
}

/* Rules between keys; the line is that of whichever of the two comes later in the file. */
static int check_rules(struct reader *r)
{
    struct config_conflict conflict;
    char path[PATH_MAX_SIZE];

    if (!config_find_conflict(r->cfg, &conflict))
        return 0;
    uint32_t line = key_line(r, conflict.key);
    uint32_t other_line = key_line(r, conflict.other);
    snprintf(path, sizeof(path), "%s.%s", conflict.key->section, conflict.key->name);
    return refuse_at(r, line > other_line ? line : other_line, path, conflict.what);
}

/* The library stops silently at a byte that is not UTF-8: refuse such a text before it. */
static int check_text(struct reader *r, struct bytes text)
{
    uint32_t point = 0;

    r->line = 1;
    if (text.size > CONFIG_BYTES_MAX)
        return refuse(r, "", "the file is larger than 1 MiB");
    for (size_t at = 0, size; at < text.size; at += size) {
        size = utf8_next(bytes_from(text, at), &point);
        if (size == 0)
            return refuse(r, "", "this line is not UTF-8 text");
        if (point == '\n')
            r->line++;
        else if (point != '\t' && point != '\r' && utf8_is_control(point))
            return refuse(r, "", "this line has a control character");
    }
    r->line = 1;
    return 0;
}

static void discard_output(struct fy_diag *diag, void *user, const char *text, size_t size)
{
    (void)diag;
    (void)user;
    (void)text;
    (void)size;
}

static int reader_open(struct reader *r, struct bytes text)
{
    struct fy_diag_cfg diag_cfg;

    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    diag_cfg.output_fn = discard_output;
    diag_cfg.level = FYET_ERROR;
    r->diag = fy_diag_create(&diag_cfg);
    if (r->diag == NULL)
        return refuse(r, "", "out of memory");
    fy_diag_set_collect_errors(r->diag, true);
    struct fy_parse_cfg parse_cfg = {
        .flags = FYPCF_QUIET | FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE,
        .diag = r->diag,
    };
    r->parser = fy_parser_create(&parse_cfg);
    if (r->parser == NULL ||
        fy_parser_set_string(r->parser, (const char *)text.ptr, text.size) != 0)
        return refuse(r, "", "out of memory");
    return 0;
}

static void reader_close(struct reader *r)
{
    if (r->parser != NULL) {
        fy_parser_event_free(r->parser, r->event);
        fy_parser_destroy(r->parser);
    }
    if (r->diag != NULL)
        fy_diag_destroy(r->diag);
}

int config_parse(struct bytes text, const char *file, struct config *ret_cfg,
                 char error[static CONFIG_ERROR_MAX])
{
    struct reader r = {.file = file, .error = error, .cfg = malloc(sizeof(*r.cfg))};

    error[0] = '\0';
    r.line = 1;
    if (r.cfg == NULL)
        return refuse(&r, "", "out of memory");
    config_defaults(r.cfg);

    int status = check_text(&r, text);
    if (status == 0 && text.size > 0) {
        status = reader_open(&r, text);
        if (status == 0)
            status = read_stream(&r);
        if (status == 0)
            status = check_rules(&r);
        reader_close(&r);
    }

    if (status == 0)
        memcpy(ret_cfg, r.cfg, sizeof(*ret_cfg));
    explicit_bzero(r.cfg, sizeof(*r.cfg)); /* it holds stream keys */
    free(r.cfg);
    return status;
}
