/* rtmp_fixture.h - what the tests of dataplane/rtmp share. */
#ifndef TESTS_RTMP_FIXTURE_H
#define TESTS_RTMP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/bytes.h"

/* The bytes of tests/fixtures/rtmp/NAME; fails the test when it is not there. The caller frees
 * them. */
struct bytes fixture_load(const char *name);

/* A linear congruential generator: the same bytes in every run. */
uint64_t fixture_random(void *state);

/* Copies of 'b' on the heap, so that a sanitizer sees a read past its end. */
struct bytes fixture_copy(struct bytes b);
void fixture_free(struct bytes *b);

#endif
