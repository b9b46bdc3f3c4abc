/* print.h - answers of leatd as tables for people. Fields that are missing or of another type print
 * as "-": an older or newer leatd is no reason to fail. */
#ifndef CONTROL_CTL_PRINT_H
#define CONTROL_CTL_PRINT_H

#include <jansson.h>
#include <stdio.h>

void print_status(FILE *out, const json_t *result);
void print_channels(FILE *out, const json_t *result);
void print_counters(FILE *out, const json_t *result);
void print_stop(FILE *out, const json_t *result);

#endif
