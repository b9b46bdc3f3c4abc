/* table.h - columns as wide as their widest cell. */
#ifndef CONTROL_CTL_TABLE_H
#define CONTROL_CTL_TABLE_H

#include <stddef.h>
#include <stdio.h>

enum { TABLE_COLUMNS_MAX = 8, TABLE_CELL_MAX = 96 };

struct table {
    size_t column_count;
    size_t row_count;
    size_t capacity;
    unsigned right_aligned; /* bit i: column i */
    char (*cells)[TABLE_CELL_MAX];
};

void table_init(struct table *t, size_t column_count, unsigned right_aligned);
void table_fini(struct table *t);

/* Adds the next cell, row by row; longer text is cut, control characters become "?". */
__attribute__((format(printf, 2, 3))) void table_cell(struct table *t, const char *format, ...);

void table_print(const struct table *t, FILE *out);

#endif
