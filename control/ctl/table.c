#include "control/ctl/table.h"

#include <stdarg.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/utf8.h"

void table_init(struct table *t, size_t column_count, unsigned right_aligned)
{
    CHECK(column_count > 0 && column_count <= TABLE_COLUMNS_MAX);
    *t = (struct table){.column_count = column_count, .right_aligned = right_aligned};
}

void table_fini(struct table *t)
{
    free(t->cells);
    t->cells = NULL;
}

void table_cell(struct table *t, const char *format, ...)
{
    va_list args;

    if (t->row_count == t->capacity) {
        t->capacity = t->capacity == 0 ? 256 : t->capacity * 2;
        t->cells = realloc(t->cells, t->capacity * sizeof(t->cells[0]));
        CHECK(t->cells != NULL); /* leatctl has nothing better to do without memory */
    }
    char *cell = t->cells[t->row_count++];
    va_start(args, format);
    vsnprintf(cell, TABLE_CELL_MAX, format, args);
    va_end(args);

    struct bytes left = bytes_of_str(cell);
    while (left.size > 0) {
        uint32_t point = 0;
        size_t size = utf8_next(left, &point);
        if (size == 0 || utf8_is_control(point)) {
            size = size == 0 ? 1 : size;
            memset(cell + (strlen(cell) - left.size), '?', size);
        }
        left = bytes_from(left, size);
    }
}

/* Characters, taking each code point for one. */
static size_t text_width(const char *text)
{
    size_t width = 0;

    for (; *text != '\0'; text++)
        width += (*text & 0xc0) != 0x80 ? 1 : 0;
    return width;
}

void table_print(const struct table *t, FILE *out)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};

    for (size_t i = 0; i < t->row_count; i++) {
        size_t width = text_width(t->cells[i]);
        if (width > widths[i % t->column_count])
            widths[i % t->column_count] = width;
    }
    for (size_t i = 0; i < t->row_count; i++) {
        size_t column = i % t->column_count;
        bool is_last = column + 1 == t->column_count;
        bool is_right = (t->right_aligned >> column & 1) != 0;
        int padding = (int)(widths[column] - text_width(t->cells[i]));
        if (is_right)
            fprintf(out, "%*s", padding, "");
        fputs(t->cells[i], out);
        if (!is_right && !is_last)
            fprintf(out, "%*s", padding, "");
        fputs(is_last ? "\n" : "  ", out);
    }
}
