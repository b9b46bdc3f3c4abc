/* script.h - packet scripts: a text in a useful part of packetdrill's language, as events.
 *
 *   [time] < S 0:0(0) win 65535 <mss 1460,sackOK>    a packet to the stack
 *   [time] > S. 0:0(0) ack 1 <...>                   a packet expected from it
 *   [time] call(arguments) = result [ERRNO]          a call and what it must return
 *   [time] %{ assert tcpi_snd_cwnd == 10 }%          a check of TCP_INFO
 *   --option=value                                   on lines of their own, before the events
 *
 * Times: 1.5 from the start, +0.2 after the event before, * whenever, two with ~ for a range, and
 * begin...end for a call that blocks. Comments are C's, C++'s and #. The parser reads any bytes. */
#ifndef TESTS_CONFORMANCE_SCRIPT_SCRIPT_H
#define TESTS_CONFORMANCE_SCRIPT_SCRIPT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SCRIPT_BYTES_MAX = 1 << 18,
    SCRIPT_EVENTS_MAX = 4096,
    SCRIPT_VALUES_MAX = 32768,
    SCRIPT_OPTIONS_MAX = 16,
    SCRIPT_NAME_MAX = 32,
    SCRIPT_ERROR_MAX = 512,
    SCRIPT_TCP_OPTIONS_MAX = 16,
    SCRIPT_SACKS_MAX = 4
};

enum value_kind { VALUE_NUMBER, VALUE_STRING, VALUE_ELLIPSIS, VALUE_LIST, VALUE_STRUCT };

/* An argument. Those of a list and the members of a struct hang on 'child'. */
struct value {
    enum value_kind kind;
    int64_t number;
    const char *text; /* VALUE_STRING: in the script's bytes */
    size_t text_size;
    char name[SCRIPT_NAME_MAX]; /* of a struct's member; empty: none */
    const struct value *child;
    const struct value *next;
};

enum time_kind { TIME_AT, TIME_AFTER, TIME_ANY };

struct script_time {
    enum time_kind kind;
    int64_t begin_us;
    int64_t end_us; /* of a range or a blocking call; else begin_us */
    bool is_range;
    bool is_blocking;
};

struct script_option {
    uint8_t kind; /* as on the wire */
    uint32_t value[2];
    uint32_t sacks[2 * SCRIPT_SACKS_MAX];
    uint8_t sack_count;
};

enum packet_protocol { PACKET_TCP, PACKET_UDP, PACKET_ICMP };

/* IP's ECN field, or what is asked of it. */
enum packet_ecn {
    ECN_ANY = -1,
    ECN_NONE = 0,
    ECN_ECT1 = 1,
    ECN_ECT0 = 2,
    ECN_CE = 3,
    ECN_ECT01 = 4
};

struct script_packet {
    bool is_inbound;
    enum packet_protocol protocol;
    int ecn;
    bool has_tos; /* all of IPv4's TOS or IPv6's traffic class; 'ecn' does not count then */
    bool has_ttl;
    uint8_t tos;
    uint8_t ttl;
    uint16_t flags; /* of the TCP header, its low 12 bits */
    uint32_t seq;
    uint32_t size; /* payload */
    bool has_ack;
    uint32_t ack;
    bool has_window;
    uint16_t window;
    uint16_t urgent;
    bool has_any_options; /* <...> */
    uint8_t option_count;
    struct script_option options[SCRIPT_TCP_OPTIONS_MAX];
    uint8_t icmp_type; /* of the family that the script runs over; see packet.c */
    uint8_t icmp_code;
    uint32_t icmp_mtu;
};

enum event_kind { EVENT_PACKET, EVENT_CALL, EVENT_CODE };

struct script_event {
    enum event_kind kind;
    int line;
    struct script_time time;
    struct script_packet packet;
    char call[SCRIPT_NAME_MAX];
    const struct value *arguments;
    int64_t result;
    bool has_any_result; /* = ... */
    int error;           /* 0: not asked */
    const char *code;
    size_t code_size;
};

struct script_setting {
    char name[SCRIPT_NAME_MAX];
    char value[96];
};

struct script {
    const char *text;
    size_t size;
    struct script_setting settings[SCRIPT_OPTIONS_MAX];
    int setting_count;
    bool is_ipv6; /* set before parsing: ICMP's names mean other numbers */
    struct script_event *events;
    int event_count;
    struct value *values;
    int value_count;
};

/* Where messages go: the first one stays. */
struct script_error {
    int line;
    char text[SCRIPT_ERROR_MAX];
};
__attribute__((format(printf, 3, 4))) bool script_fail(struct script_error *e, int line,
                                                       const char *format, ...);

/* --- parse.c --- */

/* 'text' (borrowed for the script's life) of 'size' bytes. False: see 'e'. Freed by
 * script_free() in either case. */
bool script_parse(struct script *s, const char *text, size_t size, struct script_error *e);
void script_free(struct script *s);
/* The value of a setting; NULL: not there. */
const char *script_setting(const struct script *s, const char *name);

/* --- symbols.c --- */

/* A constant of the C library's headers, or an errno name. */
bool symbol_find(const char *name, int64_t *ret);
/* The name of an errno; "?": unknown. */
const char *errno_name(int error);

/* --- code.c --- */

/* Checks every "assert expression[, message]" against 'lookup'. */
bool code_check(const char *code, size_t size,
                bool (*lookup)(void *user, const char *name, int64_t *ret), void *user, int line,
                struct script_error *e);

#endif
